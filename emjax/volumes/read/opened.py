"""The result of every format's opener, and a TensorStore for formats without a TensorStore driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.sizes import Triple


class Opened(NamedTuple):
    """An opened file.

    Attributes:
        store: axes z, y, x, maybe with c before them.
        voxel_nm: (z, y, x) voxel size, nm; None if the file does not state it.
        slow: whether reading random crops decodes far more than the crops.
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
    labels: Sequence[str] | None = None,
    units: Sequence[ts.Unit | None] | None = None,
) -> ts.TensorStore:
    """Makes a TensorStore from a function that reads parts of an array.

    Args:
        read: slices -> array; must be picklable. It raises InputError for lasting errors, as exceptions of libraries
            may not pass through TensorStore intact.
        shape: of the whole array.
        dtype: of the whole array.
        chunk: size of the part that is read, and cached, at once.
        context: TensorStore context with the cache.
        labels: of the axes; None: none.
        units: of the axes; None: unknown.
    """
    return ts.virtual_chunked(
        _Reader(read),
        rank=len(shape),
        domain=ts.IndexDomain(shape=shape, labels=labels),
        dtype=ts.dtype(dtype),
        chunk_layout=ts.ChunkLayout(read_chunk_shape=chunk),
        dimension_units=units,
        context=context,
    )


class _Reader:
    """Adapts a function of slices to the call that TensorStore makes; a class, so that it can be pickled."""

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
        # TensorStore pickles the exception. Under dask its cause is pickled too, and some libraries' exceptions cannot
        # be unpickled; so ours is raised without a cause, outside of the except clause.
        raise InputError(text)
