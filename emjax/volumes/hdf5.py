"""HDF5 files, read lazily."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.opened import Opened, chunked

# Of files that hold more than one volume, taken where none was named; CREMI's first.
_USUAL = ("volumes/raw", "raw", "main")
# Of what is read at a time where the file has no chunks.
_CHUNK = (16, 256, 256)
# HDF5 is not safe for threads, and h5py's own lock does not cover opening and closing.
_LOCK = threading.Lock()
# Open files by path, oldest first.
_FILES: dict[str, h5py.File] = {}
_MOST_FILES = 64


@dataclasses.dataclass(frozen=True)
class _Dataset:
    """Reads parts of a dataset; opened where it is first used, so that it can be pickled."""

    path: str
    dataset: str

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        with _LOCK:
            if self.path not in _FILES:
                if len(_FILES) == _MOST_FILES:
                    _FILES.pop(next(iter(_FILES))).close()
                _FILES[self.path] = h5py.File(self.path, "r")
            return _FILES[self.path][self.dataset][part]


def open_hdf5(path: Path, dataset: str, context: ts.Context) -> Opened:
    """Opens a dataset of an HDF5 file.

    Args:
        path: the file.
        dataset: path inside; '' takes the only volume, or `volumes/raw`, `raw` or `main`.
        context: with the cache.

    Raises:
        InputError: if it is no HDF5 file, or has no such dataset; lists those it has.
    """
    try:
        with _LOCK:
            # It may have been written anew since it was last read.
            if str(path) in _FILES:
                _FILES.pop(str(path)).close()
        with _LOCK, h5py.File(path, "r") as file:
            name = _choose(path, file, dataset)
            data = file[name]
            shape, dtype, chunks = data.shape, data.dtype, data.chunks
            compressed = data.compression is not None
            voxel_nm = _voxel_nm(data, file)
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5: {str(error).splitlines()[0]}") from error
    if dtype.kind not in "uifb":
        raise InputError(f"{path}:{name} holds {dtype}, not numbers")
    chunk = chunks or tuple(map(min, shape, (1,) * (len(shape) - 3) + _CHUNK))
    reader = _Dataset(str(path), name)
    return Opened(chunked(reader, shape, dtype, chunk, context), voxel_nm, slow=compressed)


def _choose(path: Path, file: h5py.File, dataset: str) -> str:
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(visit)
    listed = ", ".join(f"{name} {item.shape}" for name, item in found.items()) or "nothing"
    if dataset:
        if dataset not in found:
            raise InputError(f"{path} has no dataset '{dataset}'; it holds: {listed}")
        return dataset
    volumes = [name for name, item in found.items() if item.ndim in (3, 4)]
    for name in volumes if len(volumes) == 1 else _USUAL:
        if name in volumes:
            return name
    raise InputError(f"{path}: name a dataset, as in {path.name}:NAME; it holds: {listed}")


def _voxel_nm(data: h5py.Dataset, file: h5py.File) -> tuple[float, float, float] | None:
    """Reads the voxel size: CREMI's `resolution`, ilastik's `element_size_um`, and their like, all z, y, x."""
    for owner, name, factor in (
        (data, "resolution", 1.0),
        (data, "voxel_size", 1.0),
        (data, "element_size_um", 1000.0),
        (file, "voxel_size_nm_zyx", 1.0),
        (file, "resolution", 1.0),
        (file, "voxel_size", 1.0),
    ):
        if name in owner.attrs:
            values = np.ravel(owner.attrs[name])
            if len(values) == 3 and np.issubdtype(values.dtype, np.number) and (values > 0).all():
                return tuple(float(v) * factor for v in values)
    return None
