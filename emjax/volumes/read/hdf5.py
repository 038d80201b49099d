"""Reads HDF5 files lazily."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Triple
from emjax.volumes.axes import Names, arrange, attribute_names, kept_axes
from emjax.volumes.format import Format, Request, Writer
from emjax.volumes.place import Place, offset_place
from emjax.volumes.read.chunk_memory import refuse_hdf5_bomb, refuse_large_chunk
from emjax.volumes.read.hdf5_datasets import find_dataset
from emjax.volumes.read.hdf5_presence import is_chunk_absent, refuse_absent
from emjax.volumes.read.missing import ERROR
from emjax.volumes.read.opened import Opened, chunked
from emjax.volumes.read.outside import refuse_outside
from emjax.volumes.voxel_sizes import may_be_size, spatial_units, spatial_values, unit_nm

# (z, y, x) voxels that are read at once from a dataset without chunks.
_CHUNK = (16, 256, 256)
# Bytes; larger chunks make crops slow, since a crop needs only a small part of each.
_LARGE = 1 << 24
# HDF5 is not safe for threads, and h5py's own lock does not cover opening and closing.
LOCK = threading.Lock()
# Open files by path, oldest first.
_FILES: dict[str, h5py.File] = {}
_MOST_FILES = 64


@dataclasses.dataclass(frozen=True)
class _Dataset:
    """Reads parts of a dataset; the file is opened on first use, so that this can be pickled."""

    path: str
    dataset: str
    missing: str

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        try:
            with LOCK:
                if self.path not in _FILES:
                    if len(_FILES) == _MOST_FILES:
                        _FILES.pop(next(iter(_FILES))).close()
                    _FILES[self.path] = h5py.File(self.path, "r")
                data: Any = _FILES[self.path][self.dataset]
                if data.chunks is not None and not data.is_virtual:
                    refuse_hdf5_bomb(self._chunk(part), data, [s.start for s in part])
                values = data[part]
                absent = self.missing == ERROR and is_chunk_absent(data, part)
        except (OSError, RuntimeError, KeyError) as error:
            text = str(error).splitlines()[0]
            if "errno" in text:
                # The drive failed, not the file: this may pass.
                raise OSError(f"{self._chunk(part)} cannot be read: {text}") from error
            raise InputError(f"{self._chunk(part)} is damaged: {text}; restore the file") from error
        if absent:
            raise InputError(
                f"{self._chunk(part)} was never written; restore the file, or take absent chunks as 0 by ?missing=fill"
            )
        return values

    def _chunk(self, part: tuple[slice, ...]) -> str:
        start, stop = ([getattr(s, end) for s in part[-3:]] for end in ("start", "stop"))
        return f"chunk {Box.between(tuple(start), tuple(stop))} of {self.path}:{self.dataset}"


def open_hdf5(request: Request) -> Opened:
    """Opens a dataset of an HDF5 file: the named one, else the only volume, or the usual one of several.

    Raises:
        InputError: if it is no whole HDF5 file or another program is writing it, has no such dataset, or needs a codec
            that is not installed; if source files are lost, nothing was ever written, or its axes are not those of a
            volume.
    """
    path = request.path
    try:
        with LOCK:
            # The file may have been rewritten since it was last read.
            if str(path) in _FILES:
                _FILES.pop(str(path)).close()
        with LOCK, h5py.File(path, "r") as file:
            name, data = find_dataset(path, file, request.address.dataset)
            if data.shape is None or data.dtype.kind not in "uifb":
                raise InputError(f"{path}:{name} holds {data.dtype}, not numbers")
            shape, dtype, chunks = data.shape, data.dtype, data.chunks
            filters = _filters(path, name, data)
            refuse_outside(request.address, path, data)
            refuse_absent(request, data)
            attributes = _attributes(data)
            names = _names(attributes, len(shape))
            voxel_nm = _voxel_nm(attributes, _attributes(data.file), names)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as HDF5: {_reason(error)}") from error
    axes = kept_axes(shape, names, f"{path}:{name}", request.time)
    chunk = chunks or _box(shape, axes)
    refuse_large_chunk(f"{path}:{name}", chunk, dtype.itemsize)
    reader = _Dataset(str(path), name, request.missing)
    slow = filters > 0 or (chunks is not None and math.prod(chunks) * dtype.itemsize > _LARGE)
    store = chunked(reader, shape, dtype, chunk, request.context)
    return Opened(arrange(store, names, f"{path}:{name}", request.time), voxel_nm, slow)


def where(request: Request) -> Place | None:
    """Reads the attribute `offset` of a dataset, in nm in the order of its axes, as CREMI and emjax write it."""
    path = request.path
    try:
        with LOCK, h5py.File(path, "r") as file:
            _, data = find_dataset(path, file, request.address.dataset)
            attributes = _attributes(data)
            names = _names(attributes, len(data.shape))
            voxel_nm = _voxel_nm(attributes, _attributes(data.file), names)
            return offset_place(attributes, request.voxel_nm(voxel_nm), names)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as HDF5: {_reason(error)}") from error


def dataset_identity(path: Path, name: str) -> tuple[int, int, int] | None:
    """Returns an identity that all names of a dataset share, in its own file or through links from other files.

    Args:
        path: of a file.
        name: of the dataset; for '' the one that `open_hdf5` opens.

    Returns:
        Device and inode number of the file that contains it, and its address there; None if it is no HDF5 dataset.
    """
    if path.suffix.lower() not in FORMAT.suffixes:
        return None
    try:
        with LOCK, h5py.File(path, "r") as file:
            _, data = find_dataset(path, file, name)
            status = Path(data.file.filename).stat()
            # Type checkers do not know this part of h5py.
            low_level: Any = h5py
            return status.st_dev, status.st_ino, low_level.h5o.get_info(data.id).addr
    except (OSError, RuntimeError, InputError):
        return None


def _box(shape: tuple[int, ...], axes: list[int]) -> tuple[int, ...]:
    """Returns the part that is read at once of a dataset without chunks, in the order of its axes."""
    sides = dict(zip(axes[-3:], _CHUNK, strict=True))
    return tuple(min(n, sides.get(axis, 1)) for axis, n in enumerate(shape))


def _attributes(owner: h5py.Dataset | h5py.File) -> dict[str, Any]:
    """Returns the attributes of a dataset or file, without those of a type that h5py cannot read."""
    found = {}
    for key in owner.attrs:
        with contextlib.suppress(OSError, TypeError, ValueError):
            found[key] = owner.attrs[key]
    return found


def _names(attributes: dict[str, Any], rank: int) -> Names:
    """Returns the names of the axes: vigra's axistags, else dimension labels, else other attributes.

    Dimension labels are read as a plain attribute, since the HDF5 library crashes when asked for labels of fixed
    length.
    """
    for key in ("axistags", "DIMENSION_LABELS"):
        names = attribute_names({k: v for k, v in attributes.items() if k == key}, rank)
        if any(names):
            return names
    return attribute_names(attributes, rank)


def _reason(error: Exception) -> str:
    """Returns HDF5's error message in one line, and what to do about it."""
    text = str(error).splitlines()[0]
    if "truncated" in text:
        return f"the file is truncated, copy it again ({text})"
    if "lock" in text:
        return (
            f"another program has it open for writing, or its drive has no locks ({text}); close that program, or set "
            "HDF5_USE_FILE_LOCKING=FALSE in the environment"
        )
    return text


def _filters(path: Path, name: str, data: h5py.Dataset) -> int:
    """Returns the number of codecs that a chunk passes through.

    Raises:
        InputError: if a codec is not installed.
    """
    made = data.id.get_create_plist()
    for index in range(made.get_nfilters()):
        code, _, _, title = made.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            title = title.decode() or f"number {code}"
            raise InputError(
                f"{path}:{name} needs the HDF5 filter '{title}', which is not installed: pip install hdf5plugin, and "
                'set HDF5_PLUGIN_PATH to what python -c "import hdf5plugin; print(hdf5plugin.PLUGIN_PATH)" prints'
            )
    return made.get_nfilters()


def _voxel_nm(own: dict[str, Any], file: dict[str, Any], names: Names) -> Triple | None:
    """Reads the voxel size: CREMI's `resolution` and its like, in the order of the axes; ilastik's `element_size_um`.

    Attributes of the file are used where the dataset has none. `element_size_um` is z, y, x whatever the order of the
    axes.
    """
    spatial = tuple(name for name in names if name in tuple("zyx")) or (None,) * 3
    for attributes, name, factor in (
        (own, "resolution", 1.0),
        (own, "voxel_size", 1.0),
        (own, "element_size_um", 1000.0),
        (file, "voxel_size_nm_zyx", 1.0),
        (file, "resolution", 1.0),
        (file, "voxel_size", 1.0),
    ):
        values = np.ravel(attributes.get(name, ()))
        if not np.issubdtype(values.dtype, np.number):
            continue
        order = names if len(values) == len(names) else spatial
        if name in ("element_size_um", "voxel_size_nm_zyx"):
            order = (None,) * 3
        found = spatial_values(values, order)
        if found is None or not may_be_size(name, found):
            continue
        units = spatial_units(attributes.get("units"), order) if factor == 1 else ("nm",) * 3
        factors = [unit_nm(unit) for unit in units]
        sides = [v * f * factor for v, f in zip(found, factors, strict=True) if f]
        if len(sides) == len(factors):
            return tuple(sides)
    return None


FORMAT = Format(
    title="HDF5",
    given=".h5",
    examples=("fib25.h5:raw[0:160]", "cremi.hdf"),
    reads="its chunks; boxes of 16 x 256 x 256 where it has none",
    voxel_nm=(
        "attributes `resolution`, `voxel_size` (nm) or `element_size_um` of the dataset, else `voxel_size_nm_zyx`, "
        "`resolution` or `voxel_size` of the file"
    ),
    place="attribute `offset` of the dataset (nm)",
    open=open_hdf5,
    where=where,
    suffixes=(".h5", ".hdf5", ".hdf"),
    datasets=True,
    times=True,
    missing="fill",
    absent="a chunk that was never written",
    slow=True,
    writer=Writer(
        "emjax.volumes.write.hdf5:Hdf5Output",
        (".h5", ".hdf5", ".hdf"),
        "NAME.h5[:DATASET] (HDF5)",
        remote=False,
        datasets=True,
    ),
)
