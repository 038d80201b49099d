"""Writes HDF5, for tools that read nothing else: one chunked dataset, written to a partial file.

HDF5 has no journal: if a process is killed while it adds a chunk, the file may be unreadable. Here all chunks are
allocated from the start, which needs them uncompressed; later writes replace zeros and change nothing else, so that a
killed run can continue. `h5repack -f GZIP=4` compresses the finished file.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorstore as ts

from emjax.errors import InputError, reason
from emjax.runs.whole_file import sync
from emjax.volumes.attributes import ATTRIBUTE
from emjax.volumes.read.hdf5 import LOCK
from emjax.volumes.write.one_file import OneFile
from emjax.volumes.write.output import NewVolume

DEFAULT_DATASET = "main"
# Name of the dataset's attribute with the (z, y, x) voxels that are written at once.
_SHARD = "emjax_shard"


@dataclasses.dataclass(frozen=True)
class Hdf5Output(OneFile):
    """One dataset in a file of its own.

    Attributes:
        path: of the file.
        dataset: path of the dataset inside the file.
    """

    dataset: str = DEFAULT_DATASET

    def check_replaceable(self, file: Path) -> None:
        """Checks that the file is HDF5 that emjax wrote, and holds nothing else."""
        others = _others(file, self.dataset)
        if others:
            raise InputError(f"{file} holds {', '.join(others[:4])}; give another output")

    def attributes(self) -> dict[str, Any]:
        """See `Output`."""
        try:
            with LOCK, h5py.File(self.current, "r") as opened:
                text: Any = _dataset(opened, self.dataset).attrs[ATTRIBUTE]
                return json.loads(text)
        except (OSError, KeyError, ValueError):
            return {}

    def create(self, new: NewVolume) -> None:
        """See `Output`."""

        def write(path: Path) -> None:
            with LOCK, h5py.File(path, "w", libver=("earliest", "v110")) as file:
                data = _preallocate(file, self.dataset, new)
                if new.voxel_nm is not None:
                    data.attrs["resolution"] = [float(v) for v in new.voxel_nm]
                    data.attrs["offset"] = [
                        o * v for o, v in zip(new.origin, new.voxel_nm, strict=True)
                    ]
                data.attrs[_SHARD] = new.levels[0].shard
                data.attrs[ATTRIBUTE] = json.dumps(dict(new.attributes))

        self.make(write)

    def open(self, level: int = 0) -> ts.TensorStore:
        """See `Output`."""
        file = self.current
        try:
            with LOCK, h5py.File(file, "r") as opened:
                data = _dataset(opened, self.dataset)
                shard: Any = data.attrs[_SHARD]
                shape, dtype = data.shape, data.dtype
        except (OSError, KeyError) as error:
            raise InputError(f"cannot open {file} for writing: {reason(error)}") from error
        chunk = (*shape[:-3], *map(int, shard))
        access = _Access(str(file), self.dataset)
        return ts.virtual_chunked(
            access.read,
            access.write,
            rank=len(shape),
            domain=ts.IndexDomain(shape=shape),
            dtype=ts.dtype(dtype),
            chunk_layout=ts.ChunkLayout(write_chunk_shape=chunk),
        )


@dataclasses.dataclass(frozen=True)
class _Access:
    """Reads and writes parts of a dataset; opens the file for each call, so that nothing stays in memory."""

    path: str
    dataset: str

    def read(self, domain: ts.IndexDomain, out: np.ndarray, _: object) -> None:
        with LOCK, h5py.File(self.path, "r") as file:
            out[...] = _dataset(file, self.dataset)[domain.index_exp]

    def write(self, domain: ts.IndexDomain, voxels: np.ndarray, _: object) -> None:
        with LOCK:
            with h5py.File(self.path, "r+") as file:
                _dataset(file, self.dataset)[domain.index_exp] = voxels
            sync(self.path)


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Returns a dataset; raises KeyError if there is none of that name."""
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"{name} is no dataset")
    return found


def _preallocate(file: h5py.File, name: str, new: NewVolume) -> h5py.Dataset:
    """Makes a dataset and allocates all of its chunks, without writing them."""
    parent, _, leaf = name.rpartition("/")
    group = file.require_group(parent) if parent else file
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    shape = new.shape()
    settings.set_chunk((1,) * (len(shape) - 3) + new.levels[0].chunk)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # Without times, the same volume gives the same bytes.
    settings.set_obj_track_times(False)
    made = h5py.h5d.create(
        group.id,
        leaf.encode(),
        h5py.h5t.py_create(np.dtype(new.dtype), logical=True),
        h5py.h5s.create_simple(shape),
        dcpl=settings,
    )
    return h5py.Dataset(made)


def _others(file: Path, dataset: str) -> list[str]:
    """Lists what a file holds that would be lost with it; refuses a file that is not HDF5, so that it is never deleted.

    Raises:
        InputError: if the file is not HDF5.
    """
    datasets, others = list[str](), list[str]()
    own_groups = {dataset[:i] for i, sign in enumerate(dataset) if sign == "/"}

    def visit(name: str, link: Any) -> None:
        # Links to elsewhere are not followed.
        item = opened[name] if isinstance(link, h5py.HardLink) else None
        if isinstance(item, h5py.Dataset):
            if name != dataset:
                datasets.append(name)
            elif ATTRIBUTE not in item.attrs:
                others.append(f"a dataset {name} that emjax did not write and will not delete")
        elif item is None or name not in own_groups:
            others.append(f"{name}, which emjax did not write and will not delete")
        elif item.attrs:
            others.append(f"attributes of {name} that emjax did not write and will not delete")

    try:
        with LOCK, h5py.File(file, "r") as opened:
            opened.visititems_links(visit)
            if opened.attrs:
                others.append("attributes that emjax did not write and will not delete")
    except OSError as error:
        raise InputError(f"{file} exists and is no HDF5 file; give another output") from error
    if datasets:
        named = ", ".join(sorted(datasets)[:4])
        others.insert(0, f"other datasets, which would be deleted: {named}")
    return others
