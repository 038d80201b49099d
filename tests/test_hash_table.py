"""Open hash tables."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from emjax.hash_table import EMPTY, find_place, first_place


def _by_hand(key: int, size: int) -> int:
    mixed = key * 0x9E3779B97F4A7C15 % 2**64
    return (mixed ^ (mixed >> 32)) % size


@pytest.mark.parametrize("key", [0, 1, 5 << 31 | 7, 2**62 + 3, 2**63 - 1])
def test_first_place_wraps(key):
    assert first_place(np.int64(key), 1 << 13) == _by_hand(key, 1 << 13)
    assert first_place(np.uint64(key), 1 << 13) == _by_hand(key, 1 << 13)


@numba.njit
def _places(rows, columns, table):
    """Keys made in the loop, so that the compiler knows what ranges they are in."""
    found = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        low, high = np.int64(min(rows[i], columns[i])), np.int64(max(rows[i], columns[i]))
        key = low << 31 | high
        found[i] = first_place(key, table.size)
        table[find_place(table, key)] = key
    return found


def test_the_same_place_wherever_it_is_compiled():
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(1, 2**31, (2, 500)).astype(np.uint32)
    table = np.full(1 << 11, EMPTY, np.int64)
    found = _places(rows, columns, table)
    low, high = np.minimum(rows, columns).astype(int), np.maximum(rows, columns).astype(int)
    keys = [int(a) << 31 | int(b) for a, b in zip(low, high, strict=True)]
    assert found.tolist() == [_by_hand(key, 1 << 11) for key in keys]
    assert sorted(table[table != EMPTY]) == sorted(keys)
    assert all(table[find_place(table, key)] == key for key in keys)
    assert table[find_place(table, 3)] == EMPTY
