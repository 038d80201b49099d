"""Finds data that an HDF5 file refers to but lacks: sources of virtual datasets, external files, chunks never written.

HDF5 itself returns the fill value, mostly 0, for all of these, and reports nothing.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import h5py

from emjax.errors import InputError
from emjax.volumes.format import Request
from emjax.volumes.read.missing import ERROR, FILL, refuse_or_say

# How deep virtual datasets of virtual datasets are followed.
_DEPTH = 4
_MOST_SOURCES = 20_000
_UNLIMITED = h5py.h5s.UNLIMITED


def refuse_absent(request: Request, data: h5py.Dataset) -> None:
    """Refuses a dataset that lacks all, or some, of the data that its file refers to.

    Lost files (sources of virtual datasets, external storage) are refused unless the address has `missing=fill`, as
    lost sections are. So is a dataset of which nothing was ever written. With `missing=error`, voxels that no source of
    a virtual dataset covers are refused too; single absent chunks are refused when they are read.

    Args:
        request: the request for the dataset.
        data: the open dataset.

    Raises:
        InputError: naming what is absent.
    """
    path, missing = request.path, request.missing
    name = (data.name or "").lstrip("/")
    where = f"{path}:{name}"
    lost, total = _lost(path, data, missing == ERROR, _DEPTH)
    if lost:
        refuse_or_say(where, lost, total, FILL if missing == FILL else ERROR, "source files")
        return
    if missing == FILL:
        return
    if data.is_virtual:
        covered = sum(_voxels(source.vspace, data) for source in data.virtual_sources())
        if missing == ERROR and covered < math.prod(data.shape):
            raise InputError(
                f"{where}: its sources cover {covered} of {math.prod(data.shape)} voxels; add what is missing, or "
                "?missing=fill to take it as the fill value"
            )
    elif _never_written(data):
        raise InputError(
            f"{where} has a shape, but no voxel of it was ever written; write it, or add ?missing=fill to take all "
            "voxels as the fill value"
        )


def is_chunk_absent(data: h5py.Dataset, part: tuple[slice, ...]) -> bool:
    """Whether a chunk has no storage in the file, so that readers get the fill value."""
    if data.chunks is None or data.is_virtual:
        return False
    return data.id.get_chunk_info_by_coord(tuple(s.start for s in part)).byte_offset is None


def _never_written(data: h5py.Dataset) -> bool:
    """Whether a dataset that is not empty has no storage at all."""
    if math.prod(data.shape) == 0 or data.external:
        return False
    if data.chunks is not None:
        return data.id.get_num_chunks() == 0
    return data.id.get_storage_size() == 0


def _lost(path: Path, data: h5py.Dataset, strict: bool, depth: int) -> tuple[list[str], int]:
    """Returns the files that a dataset needs and that are absent or incomplete, and how many files it needs.

    Args:
        path: of the file that contains the dataset.
        data: the open dataset.
        strict: whether a source that lacks some of its chunks counts as incomplete; one that lacks all always does.
        depth: how many levels of virtual datasets of virtual datasets are still followed.
    """
    if data.is_virtual:
        return _lost_sources(path, data, strict, depth)
    if not data.external:
        return [], 0
    lost, needed = [], math.prod(data.shape) * data.dtype.itemsize
    for name, offset, size in data.external:
        # HDF5 looks for external files from the working folder.
        file = Path(os.fsdecode(name))
        length = min(needed, size) if size not in (_UNLIMITED, 2**64 - 1) else needed
        needed -= length
        if not file.is_file():
            lost.append(str(file))
        elif file.stat().st_size < offset + length:
            lost.append(f"{file} (cut short: {file.stat().st_size} of {offset + length} bytes)")
    return lost, len(data.external)


def _lost_sources(
    path: Path, data: h5py.Dataset, strict: bool, depth: int
) -> tuple[list[str], int]:
    prefix = os.environ.get("HDF5_VDS_PREFIX", "")
    sources = {
        (source.file_name, source.dset_name): None
        for source in data.virtual_sources()[:_MOST_SOURCES]
    }
    lost = []
    for name, dataset in sources:
        if "%" in name:
            # A numbered series of sources, as long as files exist, by the dataset's own rule.
            continue
        if name == ".":
            found = _lost_in(path, data.file, dataset, strict, depth)
        else:
            file = _source_path(path, name, prefix)
            found = (
                [str(file)] if not file.is_file() else _lost_within(file, dataset, strict, depth)
            )
        lost += found
    return lost, len(sources)


def _source_path(path: Path, name: str, prefix: str) -> Path:
    """Returns where HDF5 looks for a source: at its name under the prefix, then beside the file."""
    given = Path(name)
    if given.is_absolute() and given.is_file():
        return given
    places = [path.parent / given.name if given.is_absolute() else path.parent / given]
    if prefix:
        places.insert(0, Path(prefix.replace("${ORIGIN}", str(path.parent))) / given)
    if not given.is_absolute():
        places.append(given)
    return next(
        (place for place in places if place.is_file()), given if given.is_absolute() else places[0]
    )


def _lost_within(file: Path, dataset: str, strict: bool, depth: int) -> list[str]:
    try:
        with h5py.File(file, "r") as opened:
            return _lost_in(file, opened, dataset, strict, depth)
    except OSError:
        return [f"{file} (no HDF5 file that can be read)"]


def _lost_in(path: Path, file: h5py.File, dataset: str, strict: bool, depth: int) -> list[str]:
    item = file.get(dataset)
    if not isinstance(item, h5py.Dataset):
        return [f"{path}:{dataset.lstrip('/')}"]
    if not item.is_virtual and (_never_written(item) or (strict and _is_sparse(item))):
        return [f"{path}:{dataset.lstrip('/')} (never written)"]
    return _lost(path, item, strict, depth - 1)[0] if depth else []


def _is_sparse(data: h5py.Dataset) -> bool:
    if data.chunks is None:
        return False
    grid = math.prod(-(-n // c) for n, c in zip(data.shape, data.chunks, strict=True))
    return data.id.get_num_chunks() < grid


def _voxels(space: h5py.h5s.SpaceID, data: h5py.Dataset) -> int:
    """Returns how many voxels a source covers; all voxels where its extent is unlimited."""
    if space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        _, _, count, block = space.get_regular_hyperslab()
        if _UNLIMITED in count or _UNLIMITED in block:
            return math.prod(data.shape)
    return int(space.get_select_npoints())
