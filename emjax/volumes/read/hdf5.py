"""HDF5 files, read lazily."""

from __future__ import annotations

import dataclasses
import math
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.format import Format, Request, Writer
from emjax.volumes.place import Place, offset_place
from emjax.volumes.read.missing import ERROR
from emjax.volumes.read.opened import Opened, chunked

# Of files that hold more than one volume, taken where none was named; CREMI's first.
_USUAL = ("volumes/raw", "raw", "main")
# Of what is read at a time where the file has no chunks.
_CHUNK = (16, 256, 256)
# A chunk that is larger, in bytes, is read for crops that need a small part of it.
_LARGE = 1 << 24
# HDF5 is not safe for threads, and h5py's own lock does not cover opening and closing.
LOCK = threading.Lock()
# Open files by path, oldest first.
_FILES: dict[str, h5py.File] = {}
_MOST_FILES = 64


@dataclasses.dataclass(frozen=True)
class _Dataset:
    """Reads parts of a dataset; opened where it is first used, so that it can be pickled."""

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
                data = _FILES[self.path][self.dataset]
                values = data[part]
                absent = self.missing == ERROR and _is_absent(data, part)
        except (OSError, RuntimeError, KeyError) as error:
            text = str(error).splitlines()[0]
            if "errno" in text:
                # Of the drive, not of what is on it: may pass.
                raise OSError(f"{self._chunk(part)} cannot be read: {text}") from error
            raise InputError(f"{self._chunk(part)} is damaged: {text}; restore the file") from error
        if absent:
            raise InputError(
                f"{self._chunk(part)} was never written; restore the file, or take absent chunks as 0 by ?missing=fill"
            )
        return values

    def _chunk(self, part: tuple[slice, ...]) -> str:
        start, stop = ([getattr(s, end) for s in part[-3:]] for end in ("start", "stop"))
        return f"chunk {Box.between(start, stop)} of {self.path}:{self.dataset}"


def _is_absent(data: h5py.Dataset, part: tuple[slice, ...]) -> bool:
    """Whether a chunk has no place in the file; readers get the fill value."""
    if data.chunks is None:
        return False
    return data.id.get_chunk_info_by_coord(tuple(s.start for s in part)).byte_offset is None


def open_hdf5(request: Request) -> Opened:
    """Opens a dataset of an HDF5 file: the one that is named, else the only volume, `volumes/raw`, `raw` or `main`.

    Raises:
        InputError: if it is no whole HDF5 file, has no such dataset, or needs a codec that is not installed; lists
            the datasets.
    """
    path, dataset = request.path, request.address.dataset
    try:
        with LOCK:
            # It may have been written anew since it was last read.
            if str(path) in _FILES:
                _FILES.pop(str(path)).close()
        with LOCK, h5py.File(path, "r") as file:
            name = _choose(path, file, dataset)
            data = file[name]
            shape, dtype, chunks = data.shape, data.dtype, data.chunks
            filters = _filters(path, name, data)
            voxel_nm = _voxel_nm(data, file)
    except (OSError, RuntimeError) as error:
        text = str(error).splitlines()[0]
        if "truncated" in text:
            text = f"the file is truncated, copy it again ({text})"
        raise InputError(f"{path} cannot be read as HDF5: {text}") from error
    if dtype.kind not in "uifb":
        raise InputError(f"{path}:{name} holds {dtype}, not numbers")
    chunk = chunks or tuple(map(min, shape, (1,) * (len(shape) - 3) + _CHUNK))
    reader = _Dataset(str(path), name, request.missing)
    slow = filters > 0 or (chunks is not None and math.prod(chunks) * dtype.itemsize > _LARGE)
    return Opened(chunked(reader, shape, dtype, chunk, request.context), voxel_nm, slow)


def _filters(path: Path, name: str, data: h5py.Dataset) -> int:
    """Returns how many codecs a chunk goes through.

    Raises:
        InputError: if one is not there.
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


def where(request: Request) -> Place | None:
    """Reads the attribute `offset` of a dataset, z, y, x in nm, as CREMI and emjax write it."""
    path = request.path
    with LOCK, h5py.File(path, "r") as file:
        data = file[_choose(path, file, request.address.dataset)]
        attributes = {key: data.attrs[key] for key in ("offset", "units") if key in data.attrs}
        return offset_place(attributes, _voxel_nm(data, file), (None,) * data.ndim)


FORMAT = Format(
    title="HDF5",
    given=".h5",
    examples=("fib25.h5:raw[0:160]", "cremi.hdf"),
    reads="its chunks; boxes of 16 x 256 x 256 where it has none",
    voxel_nm="",
    open=open_hdf5,
    where=where,
    suffixes=(".h5", ".hdf5", ".hdf"),
    datasets=True,
    missing="fill",
    slow=True,
    writer=Writer(
        "emjax.volumes.write.hdf5:Hdf5Output",
        (".h5", ".hdf5", ".hdf"),
        "NAME.h5[:DATASET] (HDF5)",
        remote=False,
        datasets=True,
    ),
)
