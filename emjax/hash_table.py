"""Open hash tables of integers with linear probing, for compiled loops."""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled

EMPTY = -1


@compiled
def first_place(key, size):
    """Returns where to look for a key first, in a table of `size`, a power of two: multiplicative (Fibonacci) hashing.

    The product wraps, so its factors must be unsigned: numba declares that signed numbers never overflow, and the
    compiler may then produce any result for those that do.
    """
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    # The high half of the product depends on all bits of the key, the low half only on its low bits.
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(size - 1))


@compiled
def find_place(table, key):
    """Returns the place of a key in a table of keys, or the free place where it would be put."""
    place = first_place(key, table.size)
    while table[place] != EMPTY and table[place] != key:
        place = (place + 1) & (table.size - 1)
    return place
