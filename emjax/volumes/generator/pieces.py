"""Pieces of curves of the synthetic tissue, and the stores that they are put into while it grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from emjax.compiled import compiled


class Curves(NamedTuple):
    """Pieces of curves.

    Attributes:
        rows: `[n, 9]`, the two ends (z, y, x each), the radius at each end, and the inverse of
            the squared length.
        owner: `[n]`, id of the neurite.
        part: `[n]`, id of the organelle, 0 for the neurite itself.
        kind: `[n]`, MITOCHONDRION or TUBULE.
    """

    rows: np.ndarray
    owner: np.ndarray
    part: np.ndarray
    kind: np.ndarray


@compiled
def copy(source, target):
    """Copy a vector; an assignment of arrays takes seconds to compile, for its error message."""
    for axis in range(len(target)):
        target[axis] = source[axis]


@compiled
def put(store, count, p, q, r0, r1, owner, part, kind):
    """Put a piece from p to q with radii r0 and r1 into a store, if there is room; returns the count of pieces."""
    rows, owners, parts, kinds = store
    if count < len(rows):
        for axis in range(3):
            rows[count, axis], rows[count, 3 + axis] = p[axis], q[axis]
        rows[count, 6] = r0
        rows[count, 7] = r1
        square = (q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2 + (q[2] - p[2]) ** 2
        rows[count, 8] = 1.0 / (square + 1e-9)
        owners[count] = owner
        parts[count] = part
        kinds[count] = kind
    return count + 1


def filled(stores: int, fill: Callable[..., tuple[int, ...]]) -> tuple[Curves, ...]:
    """Call `fill` with stores that are large enough for all it puts into them."""
    # Enough for a piece of a volume; pages that nothing is written to cost nothing, a second round costs all.
    size = 1 << 16
    while True:
        arrays = tuple(
            (
                np.empty((size, 9)),
                np.empty(size, np.int64),
                np.empty(size, np.int64),
                np.empty(size, np.int8),
            )
            for _ in range(stores)
        )
        counts = fill(*arrays)
        if max(counts) <= size:
            break
        size = 1 << int(max(counts)).bit_length()
    return tuple(
        Curves(*(array[:count].copy() for array in store))
        for store, count in zip(arrays, counts, strict=True)
    )
