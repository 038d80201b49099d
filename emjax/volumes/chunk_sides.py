"""The chunk sizes of an open array."""

from __future__ import annotations

import tensorstore as ts


def read_sides(store: ts.TensorStore) -> tuple[int, ...]:
    """Returns the size of the chunk that is decoded at once, one number for each axis; 0 where it is unknown."""
    return _sides(store.chunk_layout.read_chunk.shape, store.rank)


def write_sides(store: ts.TensorStore) -> tuple[int, ...]:
    """Returns the size of the chunk that is written at once, one number for each axis; 0 where it is unknown."""
    return _sides(store.chunk_layout.write_chunk.shape, store.rank)


def _sides(shape: tuple[int | None, ...] | None, rank: int) -> tuple[int, ...]:
    return tuple(side or 0 for side in shape or (0,) * rank)
