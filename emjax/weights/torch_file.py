"""Checkpoints of torch without torch: the zip files of 2020 and later, and the files of 2018 and later before them."""

from __future__ import annotations

import functools
import mmap
import os
import struct
import sys
import zipfile
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from emjax.errors import InputError
from emjax.weights.arrays import Arrays, Entry
from emjax.weights.torch_pickle import (
    Storage,
    Tensor,
    damaged,
    end_of_pickle,
    named_tensors,
    unpickle,
)

# The pickle of a number that such files begin with.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PROTOCOL = 1001
_PICKLE = "data.pkl"
# Of an entry in a zip file: signature, then lengths of name and extra field at its end.
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class _Place(NamedTuple):
    """Where the bytes of a storage lie in the file."""

    start: int
    size: int


def is_torch(path: str | os.PathLike[str]) -> bool:
    """Whether a zip file is a checkpoint of torch."""
    with zipfile.ZipFile(path) as archive:
        return _pickle_name(archive) is not None


def read_zip(path: str | os.PathLike[str]) -> Arrays:
    """Opens a checkpoint of torch 1.6 and later.

    Args:
        path: a local file.

    Raises:
        InputError: if it is damaged, was compressed, wants to call something, or declares sizes it does not have.
    """
    source = os.fspath(path)
    try:
        with zipfile.ZipFile(source) as archive:
            name = _pickle_name(archive)
            if name is None:
                raise damaged(source, f"without {_PICKLE}")
            folder = name.removesuffix(_PICKLE)
            infos = {info.filename: info for info in archive.infolist()}
            _check_order(source, archive, infos.get(f"{folder}byteorder"))
            # Stored as they are: an entry cannot be larger than the file.
            _check_stored(source, infos[name])
            tensors = dict(named_tensors(unpickle(archive.read(name), source), source))
            keys = {tensor.storage.key for tensor in tensors.values()}
            places = {}
            for key in sorted(keys):
                info = infos.get(f"{folder}data/{key}")
                if info is None:
                    raise damaged(source, f"no data/{key[:40]!r}")
                places[key] = _entry_place(source, info)
    except (zipfile.BadZipFile, OSError, struct.error) as error:
        raise damaged(source, error) from error
    return _arrays(source, tensors, places)


def read_legacy(path: str | os.PathLike[str]) -> Arrays:
    """Opens a checkpoint of torch before 1.6, or one saved in that form later.

    Five pickles follow each other: a number, the version, the machine, the object, the keys of the storages. Then
    comes each storage: its length in eight bytes, and its numbers.

    Args:
        path: a local file.

    Raises:
        InputError: as of `read_zip`.
    """
    source = os.fspath(path)
    with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start, parts = 0, []
        for _ in range(5):
            end = end_of_pickle(data, start, source)
            parts.append(unpickle(data[start:end], source))
            start = end
        _, protocol, machine, value, keys = parts
        if protocol != _LEGACY_PROTOCOL or not isinstance(machine, dict):
            raise damaged(source, f"protocol {protocol}")
        if machine.get("little_endian") is not True:
            raise _other_order(source)
        tensors = dict(named_tensors(value, source))
        places = _legacy_places(source, data, start, keys, tensors.values())
    return _arrays(source, tensors, places)


def _legacy_places(
    source: str, data: mmap.mmap, start: int, keys: object, tensors: Iterable[Tensor]
) -> dict[str, _Place]:
    """Walks over the storages, which are as long as they say; raises InputError where the file ends before."""
    if not isinstance(keys, list):
        raise damaged(source, "without a list of its storages")
    used = {tensor.storage.key: tensor.storage for tensor in tensors}
    places = {}
    for key in map(str, keys):
        # Of a storage that no tensor is a view of, the length in bytes is not known, nor what comes after it.
        if key not in used:
            raise damaged(source, f"storage {key[:40]!r} is nobody's")
        if start + 8 > len(data):
            raise damaged(source, f"ends before storage {key[:40]!r}")
        (count,) = struct.unpack("<q", data[start : start + 8])
        if count != used[key].count:
            raise damaged(
                source, f"storage {key[:40]!r} has {count} numbers, not {used[key].count}"
            )
        places[key] = _Place(start + 8, count * used[key].dtype.itemsize)
        start = places[key].start + places[key].size
        if start > len(data):
            raise damaged(source, f"ends inside storage {key[:40]!r}")
    for key in used.keys() - places.keys():
        raise damaged(source, f"no storage {key[:40]!r}")
    return places


def _arrays(source: str, tensors: Mapping[str, Tensor], places: Mapping[str, _Place]) -> Arrays:
    for name, tensor in tensors.items():
        _check_view(source, name, tensor, places[tensor.storage.key].size)
    return Arrays(
        source,
        {
            name: Entry(
                tensor.size,
                functools.partial(_read, source, places[tensor.storage.key].start, tensor),
            )
            for name, tensor in tensors.items()
        },
    )


def _check_view(source: str, name: str, tensor: Tensor, size: int) -> None:
    """Raises InputError unless a tensor lies within its storage, that in the file, and no number is used twice."""
    storage: Storage = tensor.storage
    if storage.count * storage.dtype.itemsize != size:
        raise InputError(
            f"{source}: '{name}' declares {storage.count:,} numbers of {storage.dtype}, the file has {size:,} bytes"
        )
    if 0 in tensor.size:
        return
    extents = [
        (step, (n - 1) * step) for n, step in zip(tensor.size, tensor.stride, strict=True) if n > 1
    ]
    if tensor.offset + sum(extent for _, extent in extents) >= storage.count:
        raise InputError(
            f"{source}: '{name}' of shape {tensor.size} reaches beyond its {storage.count:,} numbers: damaged"
        )
    reach = 0
    for step, extent in sorted(extents):
        # Steps that do not pass what lies below them show numbers twice: a small file would fill any memory.
        if step <= reach:
            raise InputError(
                f"{source}: '{name}' of shape {tensor.size} and strides {tensor.stride} uses numbers more than once; "
                "save it again as a contiguous tensor"
            )
        reach += extent


def _read(source: str, start: int, tensor: Tensor) -> np.ndarray:
    dtype = tensor.storage.dtype
    if 0 in tensor.size:
        return np.empty(tensor.size, dtype)
    try:
        # Of bytes, because a zip file does not put numbers at multiples of their size.
        raw = np.memmap(
            source, np.uint8, "r", offset=start, shape=(tensor.storage.count * dtype.itemsize,)
        )
    except (OSError, ValueError) as error:
        raise damaged(source, error) from error
    steps = [n * dtype.itemsize for n in tensor.stride]
    view = np.ndarray(tensor.size, dtype, raw, tensor.offset * dtype.itemsize, steps)
    return np.array(view)


def _pickle_name(archive: zipfile.ZipFile) -> str | None:
    names = [name for name in archive.namelist() if name.split("/")[1:] == [_PICKLE]]
    return names[0] if len(names) == 1 else None


def _check_order(source: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo | None) -> None:
    if info is not None and (info.file_size > 16 or archive.read(info) != sys.byteorder.encode()):
        raise _other_order(source)


def _check_stored(source: str, info: zipfile.ZipInfo) -> None:
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise InputError(
            f"{source}: '{info.filename}' is compressed, which torch never does; load it with torch and save it again"
        )


def _entry_place(source: str, info: zipfile.ZipInfo) -> _Place:
    """Returns where an entry's bytes lie; the list at the end of a zip file only knows where its header does."""
    _check_stored(source, info)
    with open(source, "rb") as file:
        file.seek(info.header_offset)
        signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        start = info.header_offset + _LOCAL_HEADER.size + name + extra
        if signature != b"PK\x03\x04" or start + info.file_size > os.fstat(file.fileno()).st_size:
            raise damaged(source, f"'{info.filename[:80]}' lies outside of the file")
    return _Place(start, info.file_size)


def _other_order(source: str) -> InputError:
    return InputError(
        f"{source} was saved on a big-endian machine; load it with torch and save it again on this one"
    )
