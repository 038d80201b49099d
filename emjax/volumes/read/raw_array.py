"""Voxels that lie in a file as they would in memory: mapped where the file is plain, held in memory where it is not.

MRC, NIfTI, NRRD and NPY are a header and such voxels. A library reads the header; which part of the file the voxels are
is all that is left to know.
"""

from __future__ import annotations

import bz2
import dataclasses
import functools
import gzip
import math
import os
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.runs.memory import free_memory_bytes
from emjax.volumes.axes import Names, arrange, kept_axes
from emjax.volumes.format import Request
from emjax.volumes.read.opened import chunked

# (z, y, x) voxels that are read at once.
_CHUNK = (16, 256, 256)
_OPENERS: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open}
# Share of the free memory that an array may fill that has to be decompressed as a whole.
_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class RawArray:
    """Reads parts of an array.

    Attributes:
        path: of the file.
        dtype: of a voxel in the file, byte order included: '>i2'.
        shape: of the array, slowest axis first.
        offset: bytes before the voxels; of a compressed file those before what is compressed.
        inner: bytes to leave out once it is decompressed.
        codec: 'gzip', 'bzip2', or '' for a plain file.
        fastest_first: whether the first axis lies closest in memory, as numpy writes on demand.
        slope: a voxel is `slope` times the stored number plus `intercept`.
        intercept: see `slope`.
        written: when the file was written, so that no older version is served from memory.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0
    inner: int = 0
    codec: str = ""
    fastest_first: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    written: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the voxels as they are stored."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def scaled(self) -> bool:
        """Whether voxels are other numbers than those stored."""
        return self.slope != 1 or self.intercept != 0

    @property
    def read_dtype(self) -> np.dtype:
        """Type of the voxels as read: floats that hold every stored number where these are scaled."""
        stored = np.dtype(self.dtype).newbyteorder("=")
        return np.result_type(stored, np.float32) if self.scaled else stored

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        """Reads a part of the array, in the byte order of this machine."""
        voxels = self._mapped() if not self.codec else _decompressed(self)
        found = voxels[part].astype(self.read_dtype, copy=False)
        return (
            found * found.dtype.type(self.slope) + found.dtype.type(self.intercept)
            if self.scaled
            else found
        )

    def _mapped(self) -> np.ndarray:
        order = "F" if self.fastest_first else "C"
        try:
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)
        except ValueError as error:
            raise InputError(f"{self.path} became shorter while it was read") from error

    def check(self) -> None:
        """Checks that the file holds all voxels, or that they fit into memory once they are decompressed.

        Raises:
            InputError: if it is cut short, or too large to be decompressed; says the size.
        """
        if np.dtype(self.dtype).kind not in "uifb":
            raise InputError(
                f"{self.path} holds {np.dtype(self.dtype)}: a voxel is one integer or float; write its real part, "
                "or a channel"
            )
        if not self.codec:
            there = os.path.getsize(self.path) - self.offset
            if there < self.nbytes:
                raise InputError(
                    f"{self.path} is cut short: {max(0, there)} of the {self.nbytes} bytes of its {_by(self.shape)} "
                    "voxels are there; copy it again"
                )
            return
        free = free_memory_bytes()
        if self.nbytes > _SHARE * free:
            raise InputError(
                f"{self.path} is compressed as a whole: its {_gib(self.nbytes)} would have to lie in memory, of which "
                f"{_gib(free)} are free; decompress the file, and parts of it are read"
            )


def open_raw(array: RawArray, request: Request, names: Names) -> ts.TensorStore:
    """Opens an array as axes z, y, x or c, z, y, x.

    Args:
        array: to read.
        request: gives the cache, and the time of a series.
        names: of the axes of the array, as `emjax.volumes.axes.axis_names` returns them.

    Raises:
        InputError: if the file does not hold it, or its axes are not those of a volume.
    """
    array = dataclasses.replace(array, written=os.stat(array.path).st_mtime_ns)
    array.check()
    axes = kept_axes(array.shape, names, array.path, request.time)
    sides = dict(zip(axes[-3:], _CHUNK, strict=True))
    chunk = tuple(max(1, min(n, sides.get(axis, 1))) for axis, n in enumerate(array.shape))
    store = chunked(array, array.shape, array.read_dtype, chunk, request.context)
    return arrange(store, names, array.path, request.time)


@functools.lru_cache(maxsize=2)
def _decompressed(array: RawArray) -> np.ndarray:
    try:
        with open(array.path, "rb") as file:
            file.seek(array.offset)
            with _OPENERS[array.codec](file) as plain:
                plain.read(array.inner)
                data = plain.read(array.nbytes)
                # The checksum comes behind the last byte.
                plain.read(1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{array.path} cannot be decompressed: {error}; copy it again") from error
    if len(data) < array.nbytes:
        raise InputError(
            f"{array.path} is cut short: {len(data)} of {array.nbytes} bytes of voxels are in it; copy it again"
        )
    order = "F" if array.fastest_first else "C"
    return np.frombuffer(data, array.dtype).reshape(array.shape, order=order)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
