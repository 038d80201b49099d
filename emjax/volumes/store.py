"""Every format as one lazily read TensorStore with axes z, y, x."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import glob
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Triple
from emjax.volumes.address import SYNTHETIC, SYNTHETIC_KEYS, Address, parse_triple
from emjax.volumes.generator.synthetic import open_synthetic
from emjax.volumes.read.arrays import How, open_array
from emjax.volumes.read.boxes import begin_read
from emjax.volumes.read.folder_metadata import METADATA_FILES
from emjax.volumes.read.hdf5 import open_hdf5
from emjax.volumes.read.image_files import IMAGE_SUFFIXES
from emjax.volumes.read.missing import ERROR, FILL, missing_key, refuse_key
from emjax.volumes.read.opened import Opened
from emjax.volumes.read.sections import open_sections
from emjax.volumes.read.tiff import open_tiff
from emjax.volumes.read.tiles import open_tiles

# Decoded chunks of all volumes of a process that are kept. Without it a crop of a TIFF stack decodes whole sections
# again.
CACHE_BYTES = 1 << 30
# The same where a volume is read block by block.
BLOCK_CACHE_BYTES = 1 << 28
_HDF5 = (".h5", ".hdf5", ".hdf")
_TIFF = (".tif", ".tiff")
_SECTIONS = (*IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES))
_REMOTE = ("gs://", "s3://", "http://", "https://")
# Some 16 s in all: a server that is not there is told from one that hiccups before its user goes to lunch.
_RETRIES = {"max_retries": 5, "initial_delay": "500ms", "max_delay": "8s"}


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume or a part of one, read when asked.

    Attributes:
        store: `[z, y, x]` or `[c, z, y, x]`, origin 0.
        voxel_nm: (z, y, x) voxel size, nm; None where neither file nor address says.
        address: what it was opened from.
        box: the part of the file that this is, in voxels of the file.
        slow_random_access: whether the format makes crops slow; `convert` helps.
    """

    store: ts.TensorStore
    voxel_nm: Triple | None
    address: Address
    box: Box
    slow_random_access: bool = False

    @property
    def name(self) -> str:
        """The address, without the keys that say how to read it."""
        return str(dataclasses.replace(self.address, keys={}))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the store."""
        return tuple(self.store.shape)

    @property
    def size(self) -> tuple[int, int, int]:
        """(z, y, x) voxels."""
        return tuple(self.store.shape[-3:])

    @property
    def dtype(self) -> np.dtype:
        """Of the voxels."""
        return self.store.dtype.numpy_dtype

    def read(self, box: Box) -> np.ndarray:
        """Reads a part.

        Args:
            box: in voxels of this volume.

        Returns:
            `[z, y, x]` or `[c, z, y, x]`.

        Raises:
            InputError: if a chunk is damaged, may not be read, or is absent where the address refuses that (chunks
                of arrays that are absent are 0 unless it has `missing=error`); names the file and the box.
            OSError: if reading failed in a way that may pass, such as a server that does not answer.
        """
        return self.begin_read(box)()

    def begin_read(self, box: Box) -> Callable[[], np.ndarray]:
        """Begins to read a part, so that several are on their way at once.

        Args:
            box: in voxels of this volume.

        Returns:
            A function that waits for the part and returns it, or raises, as `read` does.
        """
        name = str(Address(self.address.path, self.address.dataset))
        return begin_read(self.store, box, name, self.box.start)

    def crop(self, box: Box) -> Volume:
        """Returns a part as a volume of its own.

        Args:
            box: in voxels of this volume.
        """
        part = self.store[(..., *box.slices)]
        part = part[ts.d[-3, -2, -1].translate_to[0]]
        moved = box.translate(self.box.start)
        address = self.address.with_box(str(moved)[1:-1])
        return dataclasses.replace(self, store=part, box=moved, address=address)


@functools.cache
def shared_context(cache_bytes: int = CACHE_BYTES) -> ts.Context:
    """Returns the one cache of a size that volumes of this process share.

    Args:
        cache_bytes: of decoded chunks kept.
    """
    retries = {f"{kind}_request_retries": _RETRIES for kind in ("http", "gcs", "s3")}
    return ts.Context({"cache_pool": {"total_bytes_limit": cache_bytes}, **retries})


def open_for_blocks(address: str | Address) -> Volume:
    """Opens a volume that is read block by block: what was decoded is kept only where several blocks need the same.

    So memory does not grow with the volume until a cache is full of what nobody reads again.

    Args:
        address: of the volume.

    Raises:
        InputError: as `open_volume`.
    """
    volume = open_volume(address, context=shared_context(0))
    if not volume.slow_random_access:
        return volume
    return open_volume(address, context=shared_context(BLOCK_CACHE_BYTES))


def open_volume(address: str | Address, *, context: ts.Context | None = None) -> Volume:
    """Opens a volume.

    Args:
        address: see `emjax.volumes.address`.
        context: with the cache to use; that of the process when None.

    Raises:
        InputError: if there is no such path, dataset or channel, the box leaves the volume, or it is not 3D.
    """
    address = Address.parse(address) if isinstance(address, str) else address
    opened = _open(address, context or shared_context())
    store = opened.store
    if store.rank not in (3, 4):
        raise InputError(
            f"{address} has axes of {tuple(store.shape)}; a volume needs z, y, x or c, z, y, x"
        )
    store = _channel(store[ts.d[:].translate_to[0]], address)
    whole = Box((0, 0, 0), tuple(store.shape[-3:]))
    voxel_nm = opened.voxel_nm
    if "voxel_nm" in address.keys:
        voxel_nm = parse_triple(address.keys["voxel_nm"], "voxel_nm")
    volume = Volume(store, voxel_nm, address, whole, opened.slow)
    if not address.box:
        return volume
    try:
        part = volume.crop(Box.from_text(address.box, whole.size))
    except InputError as error:
        raise InputError(f"{address.path}: {error}") from error
    return dataclasses.replace(part, address=address)


def _open(address: Address, context: ts.Context) -> Opened:
    """Finds the format and opens it."""
    path = address.path
    if path.startswith(SYNTHETIC):
        refuse_key(address)
        keys = {k: v for k, v in address.keys.items() if k in SYNTHETIC_KEYS or k == "voxel_nm"}
        store, voxel_nm = open_synthetic(path.removeprefix(SYNTHETIC), keys)
        return Opened(store, voxel_nm)
    if path.startswith(_REMOTE):
        return open_array(path, address.dataset, _how(address, context))
    # Readers open their files later, and maybe in a process with another working folder.
    local = Path(path).expanduser().absolute()
    try:
        return _open_local(address, local, context)
    except PermissionError as error:
        raise InputError(
            f"no permission to read {error.filename or local}; ask its owner, or copy it"
        ) from error


def _open_local(address: Address, local: Path, context: ts.Context) -> Opened:
    path, pattern = address.path, None
    if not local.exists():
        if "*" not in path and "?" not in path:
            raise InputError(f"no such path: {path}{_nearest_entry(local)}")
        pattern = str(local)
    elif local.is_dir():
        pattern = _sections_in(local)
        if pattern is None:
            return open_array(local.as_uri(), address.dataset, _how(address, context))
    else:
        # Libraries say in many ways that a file may not be read; Python in one.
        local.open("rb").close()
    suffix = local.suffix.lower()
    if level := _level(address):
        raise InputError(f"{path} is a single array, no pyramid; leave out level={level}")
    if suffix in _HDF5 and pattern is None:
        return open_hdf5(local, address.dataset, missing_key(address, FILL), context)
    if address.dataset:
        raise InputError(f"{path} has no datasets inside; leave out ':{address.dataset}'")
    if pattern is not None:
        return open_sections(pattern, missing_key(address, ERROR), context)
    if suffix == ".json":
        return open_tiles(local, missing_key(address, ERROR), context)
    if suffix in _TIFF:
        refuse_key(address)
        return open_tiff(local, context)
    raise InputError(
        f"{path} is no format that is known: give .zarr, .n5, a precomputed folder, .h5, .tif, a folder of "
        "sections (folder/*.png), a .json of tiles, or synthetic://"
    )


def _how(address: Address, context: ts.Context) -> How:
    return How(_level(address), context, missing_key(address, FILL))


def _sections_in(folder: Path) -> str | None:
    """Returns a pattern of the sections in a folder; None where it has none, or is an array."""
    names = os.listdir(folder)
    if not names:
        raise InputError(f"{folder} is empty; give a folder of sections or of an array")
    if set(names) & set(METADATA_FILES):
        return None
    suffixes = sorted({Path(name).suffix for name in names} & set(_SECTIONS))
    if len(suffixes) > 1:
        raise InputError(
            f"{folder} holds {' and '.join(suffixes)}; say which are the sections, as in {folder}/*{suffixes[0]}"
        )
    return f"{glob.escape(str(folder))}/*{suffixes[0]}" if suffixes else None


def _channel(store: ts.TensorStore, address: Address) -> ts.TensorStore:
    if "channel" not in address.keys:
        return store
    channel = _whole_number(address, "channel", "0 for the first")
    if store.rank == 3:
        raise InputError(f"{address.path} has one channel alone; leave out channel={channel}")
    if channel >= store.shape[0]:
        raise InputError(f"{address.path} has channels 0 to {store.shape[0] - 1}, not {channel}")
    return store[channel]


def _level(address: Address) -> int:
    return _whole_number(address, "level", "0 for full resolution")


def _whole_number(address: Address, key: str, meaning: str) -> int:
    text = address.keys.get(key, "0")
    if not text.isdigit():
        raise InputError(f"{address}: {key}={text} is not a whole number, {meaning}")
    return int(text)


def _nearest_entry(path: Path) -> str:
    """Names what stands beside a path that does not exist."""
    parent = path.parent
    if not parent.is_dir():
        return f"; nor is there a folder {parent}"
    names = sorted(os.listdir(parent))
    match = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    if match:
        return f"; did you mean {parent / match[0]}?"
    return f"; {parent} holds: {', '.join(names[:8]) or 'nothing'}"
