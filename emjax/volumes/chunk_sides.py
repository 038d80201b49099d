"""How an open array is cut into chunks."""

from __future__ import annotations

import tensorstore as ts


def read_sides(store: ts.TensorStore) -> tuple[int, ...]:
    """Returns the sides of what is decoded together, one for each axis; 0 where that is not known."""
    return _sides(store.chunk_layout.read_chunk.shape, store.rank)


def write_sides(store: ts.TensorStore) -> tuple[int, ...]:
    """Returns the sides of what is written together, one for each axis; 0 where that is not known."""
    return _sides(store.chunk_layout.write_chunk.shape, store.rank)


def _sides(shape: tuple[int | None, ...] | None, rank: int) -> tuple[int, ...]:
    return tuple(side or 0 for side in shape or (0,) * rank)
