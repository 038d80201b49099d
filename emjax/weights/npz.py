"""Files of `numpy.savez`: arrays alone, no pickles, and no more memory than the file can fill."""

from __future__ import annotations

import functools
import math
import os
import zipfile
import zlib
from typing import IO

import numpy as np

from emjax.errors import InputError, reason
from emjax.weights.arrays import Arrays, Entry

_SUFFIX = ".npy"
# Trained numbers hardly shrink. What claims to have shrunk more than this, and is large, is refused.
_MOST_SHRUNK = 100
_LARGE_BYTES = 2**30


def read_npz(path: str | os.PathLike[str]) -> Arrays:
    """Opens a `.npz`, compressed or not.

    Args:
        path: a local file.

    Raises:
        InputError: if it is damaged, holds something else than arrays of numbers, or declares sizes it does not have.
    """
    source = os.fspath(path)
    entries = {}
    try:
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(_SUFFIX):
                    raise InputError(
                        f"{source} is a zip file with '{info.filename}' in it; give a .npz or a checkpoint of torch"
                    )
                name = info.filename.removesuffix(_SUFFIX)
                if name in entries:
                    raise InputError(f"{source} has two arrays called '{name}'")
                shape = _check(source, archive, info)
                entries[name] = Entry(shape, functools.partial(_read, source, info.filename))
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(source, error) from error
    if not entries:
        raise InputError(f"{source} is empty; give a file with arrays")
    return Arrays(source, entries)


def _check(source: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[int, ...]:
    """Returns the shape of an array; raises InputError unless its size is that of its part of the file."""
    with archive.open(info) as file:
        shape, dtype, header = _header(file)
    if dtype.hasobject:
        raise InputError(
            f"{source}: '{info.filename}' holds Python objects, which could run anything; save numbers alone"
        )
    # numpy would make room for what the header declares before it reads.
    if header + math.prod(shape) * dtype.itemsize != info.file_size:
        raise InputError(
            f"{source}: '{info.filename}' declares {shape} of {dtype}, which is not what it holds"
        )
    if info.file_size > max(_LARGE_BYTES, _MOST_SHRUNK * info.compress_size):
        raise InputError(
            f"{source}: '{info.filename}' would grow from {info.compress_size:,} bytes to {info.file_size:,}; save it "
            "without compression if that is meant"
        )
    return shape


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, int]:
    """Returns shape, dtype, and the bytes that the header takes."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype, file.tell()


def _read(source: str, filename: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(source) as archive, archive.open(filename) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, zlib.error) as error:
        raise _damaged(source, error) from error


def _damaged(source: str, error: Exception) -> InputError:
    return InputError(
        f"{source} is no whole .npz ({reason(error)}); it may be cut off: copy it again"
    )
