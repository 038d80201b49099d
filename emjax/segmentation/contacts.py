"""Gathers the evidence of pairs of fragments from their voxels by compiled loops (`region_graph.edge_statistics`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emjax.compiled import compiled
from emjax.hash_table import EMPTY, find_place

UNIT = 1 << 24  # an affinity of 1 in `total` and `maximum`
BINS = 256
# An affinity that exceeds all around it by more than this is taken for a wrong one (our choice).
STEP = 0.45


class Tables(NamedTuple):
    """Two open hash tables: pairs of fragments -> rows of `entries`, and (row, bin) -> amounts."""

    table: np.ndarray
    entry_of: np.ndarray
    keys: np.ndarray
    entries: np.ndarray
    used: int
    bin_table: np.ndarray
    bin_amounts: np.ndarray
    bins_used: int


def gather(
    fragments: np.ndarray,
    values: np.ndarray,
    offset: np.ndarray,
    box: np.ndarray,
    contact: bool,
    histogram: bool,
    steady: bool,
    state: Tables,
) -> Tables:
    """Adds one channel (nothing if `values` is empty) and, with `contact`, the contacts along its axis.

    The compiled loop stops before a row in which a table may become more than half full, and continues with a larger
    table.
    """
    row, rows = 0, int(np.prod(np.maximum(box[:2, 1] - box[:2, 0], 0)))
    # Each voxel of a row adds at most one pair and one bin.
    room = 2 * max(int(box[2, 1] - box[2, 0]), 0)
    while True:
        row, used, bins_used = _gather_rows(
            fragments, values, offset, box, contact, histogram, steady, row, room, *state
        )
        state = state._replace(used=used, bins_used=bins_used)
        if row == rows:
            return state
        if 2 * used + room > state.table.size:
            table, entry_of = _doubled(state.table, state.entry_of)
            keys = np.concatenate([state.keys, np.zeros_like(state.keys)])
            entries = np.concatenate([state.entries, np.zeros_like(state.entries)])
            state = state._replace(table=table, entry_of=entry_of, keys=keys, entries=entries)
        if 2 * bins_used + room > state.bin_table.size and histogram:
            bin_table, bin_amounts = _doubled(state.bin_table, state.bin_amounts)
            state = state._replace(bin_table=bin_table, bin_amounts=bin_amounts)


@compiled
def _doubled(table, values):
    """Returns a table of twice the size with the same keys and values."""
    more = np.full(table.size * 2, EMPTY, np.int64)
    more_values = np.zeros(table.size * 2, np.int64)
    for i in range(table.size):
        if table[i] != EMPTY:
            place = find_place(more, table[i])
            more[place] = table[i]
            more_values[place] = values[i]
    return more, more_values


@compiled
def _steady(fragments, values, dz, dy, dx, z, y, x):
    """Returns the affinity of a voxel, or what it counts at most beside those around it; see `edge_statistics`."""
    depth, height, width = fragments.shape
    a, b = fragments[z, y, x], fragments[z + dz, y + dy, x + dx]
    same, total, count = np.float32(-1), 0.0, 0
    for k in range(max(z - 1, -dz), min(z + 2, depth)):
        for j in range(max(y - 1, -dy), min(y + 2, height)):
            for i in range(max(x - 1, -dx), min(x + 2, width)):
                if k == z and j == y and i == x:
                    continue
                p, q = fragments[k, j, i], fragments[k + dz, j + dy, i + dx]
                if p == a and q == b:
                    same = max(same, values[k, j, i])
                elif p != q and p != 0 and q != 0:
                    total += values[k, j, i]
                    count += 1
    if same >= 0:
        return min(values[z, y, x], same + np.float32(STEP))
    if count:
        return min(values[z, y, x], np.float32(total / count + STEP))
    return values[z, y, x]


@compiled
def _gather_rows(
    fragments,
    values,
    offset,
    box,
    contact,
    histogram,
    steady,
    row,
    room,
    table,
    entry_of,
    keys,
    entries,
    used,
    bin_table,
    bin_amounts,
    bins_used,
):
    """Adds rows of `box` until a table may be too full for the next one.

    Returns the first row that was not added, and how full the tables are.
    """
    evidence = values.size > 0
    dz, dy, dx = offset[0], offset[1], offset[2]
    height = box[1, 1] - box[1, 0]
    end = (box[0, 1] - box[0, 0]) * height
    while row < end:
        if 2 * used + room > table.size or (histogram and 2 * bins_used + room > bin_table.size):
            break
        z, y = box[0, 0] + row // height, box[1, 0] + row % height
        row += 1
        if z + dz < 0 or y + dy < 0:
            continue
        here, there = fragments[z, y], fragments[z + dz, y + dy]
        x = max(box[2, 0], -dx)
        while x < box[2, 1]:
            a, b = here[x], there[x + dx]
            if a == b or a == 0 or b == 0:
                x += 1
                continue
            # Along the face of two fragments, the same pair occurs many times in a row.
            first = x
            while x < box[2, 1] and here[x] == a and there[x + dx] == b:
                x += 1
            low, high = np.int64(min(a, b)), np.int64(max(a, b))
            key = low << 31 | high
            place = find_place(table, key)
            if table[place] == EMPTY:
                table[place] = key
                entry_of[place] = used
                keys[used] = key
                used += 1
            entry = entry_of[place]
            if contact:
                entries[entry, 0] += x - first
            if not evidence:
                continue
            total, most = np.int64(0), entries[entry, 3]
            for i in range(first, x):
                units = np.int64(values[z, y, i] * UNIT + 0.5)
                total += units
                if units > most:
                    if steady:
                        value = _steady(fragments, values, dz, dy, dx, z, y, i)
                        units = np.int64(value * UNIT + 0.5)
                    most = max(most, units)
            entries[entry, 1] += total
            entries[entry, 2] += x - first
            entries[entry, 3] = most
            if not histogram:
                continue
            for i in range(first, x):
                key = entry * BINS + min(np.int64(values[z, y, i] * BINS), BINS - 1)
                place = find_place(bin_table, key)
                if bin_table[place] == EMPTY:
                    bin_table[place] = key
                    bins_used += 1
                bin_amounts[place] += 1
    return row, used, bins_used
