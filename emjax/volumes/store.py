"""Every format as one lazily read TensorStore with axes z, y, x."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import glob
import os
from pathlib import Path

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.address import SYNTHETIC, SYNTHETIC_KEYS, Address, parse_triple
from emjax.volumes.arrays import METADATA_FILES, open_array
from emjax.volumes.hdf5 import open_hdf5
from emjax.volumes.images import SECTION_SUFFIXES, open_sections, open_tiff
from emjax.volumes.opened import Opened
from emjax.volumes.synthetic import open_synthetic

Triple = tuple[float, float, float]
# Decoded chunks of all volumes of a process that are kept. Without it a crop of a TIFF stack decodes whole sections
# again.
CACHE_BYTES = 1 << 30
_HDF5 = (".h5", ".hdf5", ".hdf")
_TIFF = (".tif", ".tiff")
_SECTIONS = (*SECTION_SUFFIXES, *(suffix.upper() for suffix in SECTION_SUFFIXES))
_REMOTE = ("gs://", "s3://", "http://", "https://")


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
        """
        return self.store[(..., *box.slices)].read().result()

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
    return ts.Context({"cache_pool": {"total_bytes_limit": cache_bytes}})


def open_volume(address: str | Address, *, context: ts.Context | None = None) -> Volume:
    """Opens a volume.

    Args:
        address: see `emjax.volumes.address`.
        context: with the cache to use; that of the process when None.

    Raises:
        InputError: if there is no such path or dataset, the box leaves the volume, or it is not 3D.
    """
    address = Address.parse(address) if isinstance(address, str) else address
    opened = _open(address, context or shared_context())
    store = opened.store
    if store.rank not in (3, 4):
        raise InputError(
            f"{address} has axes of {tuple(store.shape)}; a volume needs z, y, x or c, z, y, x"
        )
    store = store[ts.d[:].translate_to[0]]
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
        keys = {k: v for k, v in address.keys.items() if k in SYNTHETIC_KEYS or k == "voxel_nm"}
        store, voxel_nm = open_synthetic(path.removeprefix(SYNTHETIC), keys)
        return Opened(store, voxel_nm)
    level = _level(address)
    if path.startswith(_REMOTE):
        return open_array(path, address.dataset, level, context)
    # Readers open their files later, and maybe in a process with another working folder.
    local = Path(path).expanduser().absolute()
    pattern = None
    if not local.exists():
        if "*" not in path and "?" not in path:
            raise InputError(f"no such path: {path}{_nearest_entry(local)}")
        pattern = str(local)
    elif local.is_dir():
        pattern = _sections_in(local)
        if pattern is None:
            return open_array(local.as_uri(), address.dataset, level, context)
    suffix = local.suffix.lower()
    if level:
        raise InputError(f"{path} is a single array, no pyramid; leave out level={level}")
    if suffix in _HDF5 and pattern is None:
        return open_hdf5(local, address.dataset, context)
    if address.dataset:
        raise InputError(f"{path} has no datasets inside; leave out ':{address.dataset}'")
    if pattern is not None:
        return open_sections(pattern, context)
    if suffix in _TIFF:
        return open_tiff(local, context)
    raise InputError(
        f"{path} is no format that is known: give .zarr, .n5, a precomputed folder, .h5, .tif, a folder of "
        "sections (folder/*.png), or synthetic://"
    )


def _sections_in(folder: Path) -> str | None:
    """Returns a pattern of the sections in a folder; None where it has none, or is an array."""
    names = os.listdir(folder)
    if set(names) & set(METADATA_FILES):
        return None
    suffixes = sorted({Path(name).suffix for name in names} & set(_SECTIONS))
    if len(suffixes) > 1:
        raise InputError(
            f"{folder} holds {' and '.join(suffixes)}; say which are the sections, as in {folder}/*{suffixes[0]}"
        )
    return f"{glob.escape(str(folder))}/*{suffixes[0]}" if suffixes else None


def _level(address: Address) -> int:
    text = address.keys.get("level", "0")
    if not text.isdigit():
        raise InputError(f"{address}: level={text} is not a whole number, 0 for full resolution")
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
