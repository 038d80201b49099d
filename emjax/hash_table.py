"""Open hash tables of integers with linear probing, for compiled loops."""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled

EMPTY = -1


@compiled
def first_place(key, size):
    """Where to look for a key first, in a table of `size`, a power of two: multiplicative (Fibonacci) hashing.

    The product wraps, so it must be of unsigned numbers: of signed ones numba says that they never overflow, and the
    compiler then makes what it likes of those that do.
    """
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    # The high half of the product depends on all bits of the key, the low half on the low bits alone.
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(size - 1))


@compiled
def find_place(table, key):
    """Where a key is, or would be, in a table of keys."""
    place = first_place(key, table.size)
    while table[place] != EMPTY and table[place] != key:
        place = (place + 1) & (table.size - 1)
    return place
