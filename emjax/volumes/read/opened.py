"""What every format's opener returns, and how formats without a TensorStore driver become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.sizes import Triple


class Opened(NamedTuple):
    """An opened file.

    Attributes:
        store: axes z, y, x, maybe with c before them.
        voxel_nm: (z, y, x) voxel size, nm, if the file says.
        slow: whether random crops read far more than they need.
    """

    store: ts.TensorStore
    voxel_nm: Triple | None
    slow: bool = False


def chunked(
    read: Callable[[tuple[slice, ...]], np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
    chunk: tuple[int, ...],
    context: ts.Context | None,
) -> ts.TensorStore:
    """Makes a TensorStore of a function that reads parts of an array.

    Args:
        read: picklable; slices -> array. Raises InputError for what lasts: other exceptions of libraries may not
            come through TensorStore whole.
        shape: of the whole.
        dtype: of the whole.
        chunk: what is read, and kept in the cache, at a time.
        context: with the cache.
    """
    return ts.virtual_chunked(
        _Reader(read),
        rank=len(shape),
        domain=ts.IndexDomain(shape=shape),
        dtype=ts.dtype(dtype),
        chunk_layout=ts.ChunkLayout(read_chunk_shape=chunk),
        context=context,
    )


class _Reader:
    """Adapts a function of slices to what TensorStore calls; a class, so that it can be pickled."""

    def __init__(self, read: Callable[[tuple[slice, ...]], np.ndarray]) -> None:
        self._read = read

    def __call__(self, domain: ts.IndexDomain, out: np.ndarray, _: object) -> None:
        part = tuple(
            slice(a, b) for a, b in zip(domain.inclusive_min, domain.exclusive_max, strict=True)
        )
        try:
            out[...] = self._read(part)
            return
        except InputError as error:
            text = str(error)
        # TensorStore pickles what is raised. Under dask, causes are pickled with it, and some libraries' errors cannot
        # be made again from that; so ours goes alone, outside of the except clause.
        raise InputError(text)
