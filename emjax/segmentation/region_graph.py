"""The region graph: pairs of fragments with evidence that adds up across blocks.

All numbers are integers (affinities are counted in units of 2**-24), so that a sum over blocks equals the sum over the
whole to the last bit, in any order. So the result of a partition cannot depend on the blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emjax.compiled import compiled
from emjax.errors import InputError
from emjax.hash_table import EMPTY, find_place
from emjax.segmentation.prediction import NEAREST, Affinities, Offset

UNIT = 1 << 24  # an affinity of 1 in `total` and `maximum`
BINS = 256
# An affinity that exceeds all around it by more than this is taken for a wrong one (our choice).
STEP = 0.45


@dataclasses.dataclass(frozen=True)
class EdgeStatistics:
    """The evidence of each pair of fragments.

    Attributes:
        pairs: `[n, 2]` uint64, smaller id first, sorted.
        contact: `[n]` int64, number of voxel faces that the two share; 0 where only a long-range affinity
            joins them. Another block may know that the two touch, so such pairs are kept until all blocks
            are merged; `touching` drops them.
        total: `[n]` int64, sum of the affinities between them, in units of 1 / `UNIT`.
        count: `[n]` int64, number of these affinities.
        maximum: `[n]` int64, the largest of them, in units of 1 / `UNIT`; see `edge_statistics` for `steady`.
        histogram: `[m, 3]` int64 rows (edge, bin, amount), sorted: the non-empty bins of the
            histograms of affinities over `BINS` equal bins; None if they were not requested.
    """

    pairs: np.ndarray
    contact: np.ndarray
    total: np.ndarray
    count: np.ndarray
    maximum: np.ndarray
    histogram: np.ndarray | None = None

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self.pairs)

    @property
    def mean(self) -> np.ndarray:
        """Mean affinity of each pair, `[n]` float64; 0 where no affinity is known."""
        return self.total / UNIT / np.maximum(self.count, 1)

    def touching(self) -> EdgeStatistics:
        """Returns the pairs that share a face."""
        return self.select(self.contact > 0)

    def select(self, keep: np.ndarray) -> EdgeStatistics:
        """Returns the pairs where `keep`, `[n]` bool, is True."""
        if keep.all():
            return self
        histogram = self.histogram
        if histogram is not None:
            histogram = histogram[keep[histogram[:, 0]]]
            histogram = np.column_stack([(np.cumsum(keep) - 1)[histogram[:, 0]], histogram[:, 1:]])
        return EdgeStatistics(
            self.pairs[keep],
            self.contact[keep],
            self.total[keep],
            self.count[keep],
            self.maximum[keep],
            histogram,
        )


def merge_statistics(parts: Sequence[EdgeStatistics]) -> EdgeStatistics:
    """Adds up the statistics of the parts of a volume.

    Args:
        parts: one or more; each pair of voxels is counted in exactly one of them.

    Returns:
        The same as `edge_statistics` of the whole volume, to the last bit, in any order.

    Raises:
        InputError: if some have histograms and others do not.
    """
    if len({part.histogram is None for part in parts}) != 1:
        raise InputError("statistics with and without histograms cannot be added; make all alike")
    if len(parts) == 1 and _is_sorted(parts[0].pairs):
        return parts[0]
    pairs = np.concatenate([part.pairs for part in parts])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs = pairs[order]
    first = np.ones(len(pairs), bool)
    first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    starts = np.flatnonzero(first)
    pairs = pairs[first]

    def reduced(ufunc: np.ufunc, name: str) -> np.ndarray:
        values = np.concatenate([getattr(part, name) for part in parts])[order]
        # `reduceat` fails if there are no rows.
        return ufunc.reduceat(values, starts) if len(starts) else values

    histograms = [part.histogram for part in parts if part.histogram is not None]
    histogram = None
    if histograms:
        index = np.empty(len(order), np.int64)
        index[order] = np.cumsum(first) - 1
        offsets = np.cumsum([0, *(len(part) for part in parts)])
        rows = [
            np.column_stack([index[rows[:, 0] + offset], rows[:, 1:]])
            for rows, offset in zip(histograms, offsets[:-1], strict=True)
        ]
        histogram = _add_bins(np.concatenate(rows))
    return EdgeStatistics(
        pairs,
        reduced(np.add, "contact"),
        reduced(np.add, "total"),
        reduced(np.add, "count"),
        reduced(np.maximum, "maximum"),
        histogram,
    )


def contract(statistics: EdgeStatistics, ids: np.ndarray, clusters: np.ndarray) -> EdgeStatistics:
    """Returns the statistics of pairs of clusters of fragments.

    Args:
        statistics: of pairs of fragments.
        ids: `[k]` uint64, sorted fragment ids; contains all ids that occur in the pairs.
        clusters: `[k]` uint64, the cluster of each fragment; 0 = background, which has no edges.
    """
    ends = clusters[np.searchsorted(ids, statistics.pairs)].astype(np.uint64)
    keep = (ends[:, 0] != ends[:, 1]) & (ends != 0).all(axis=1)
    kept = statistics.select(keep)
    return merge_statistics([dataclasses.replace(kept, pairs=np.sort(ends[keep], axis=1))])


def edge_statistics(
    fragments: np.ndarray,
    affinities: Affinities | None = None,
    *,
    own: tuple[slice, ...] | None = None,
    histogram: bool = False,
    steady: bool = False,
) -> EdgeStatistics:
    """Gathers the affinities and contacts of each pair of fragments.

    All channels count alike, long-range ones included: a channel with offset o adds its value at p to the
    pair of fragments at p and p + o.

    Args:
        fragments: `[z, y, x]` integers, 0 = background, which has no edges.
        affinities: of the same voxels; None counts contacts only.
        own: slices of the part whose voxels p are counted; p + o is read from all of `fragments`.
            If blocks partition a volume and are read with a halo on their lower side as wide as the
            longest offset, each pair of voxels is counted once. None: everything.
        histogram: whether to fill histograms.
        steady: whether single affinities that stand out count less in the maximum: one that exceeds all those of the
            same channel, between the same two fragments, at the 26 voxels around p by more than `STEP` counts as the
            largest of these plus `STEP`. Where there are none, their place takes the mean of those between any two
            fragments; where there are none of these either, it counts as it is. Blocks then need one voxel more of a
            halo, on all sides.

    Returns:
        All pairs, including those that do not touch; see `EdgeStatistics.contact`.
    """
    ids, local = _local_ids(fragments)
    box = np.array(
        [part.indices(n)[:2] for part, n in zip(own, fragments.shape, strict=True)]
        if own is not None
        else [(0, n) for n in fragments.shape],
        np.int64,
    )
    table, entry_of = np.full(1 << 12, EMPTY, np.int64), np.zeros(1 << 12, np.int64)
    entries = np.zeros((1 << 11, 4), np.int64)
    keys = np.zeros(1 << 11, np.int64)
    bin_table = np.full(1 << 12 if histogram else 1, EMPTY, np.int64)
    bin_amounts = np.zeros(bin_table.shape, np.int64)
    state = _State(table, entry_of, keys, entries, 0, bin_table, bin_amounts, 0)
    known = affinities.offsets if affinities is not None else ()
    nothing = np.zeros((0, 0, 0), np.float32)
    for offset in (*NEAREST, *(o for o in known if o not in NEAREST)):
        values = nothing
        if affinities is not None and offset in known:
            values = np.ascontiguousarray(affinities[known.index(offset)])
            _check_shape(values, fragments, offset)
        binned = histogram and offset in known
        state = _gather_all(
            local, values, np.array(offset), box, offset in NEAREST, binned, steady, state
        )
    _, _, keys, entries, used, bin_table, bin_amounts, _ = state
    keys, entries = keys[:used], entries[:used]
    order = np.argsort(keys)
    pairs = np.stack([keys >> 31, keys & ((1 << 31) - 1)], axis=1)[order]
    # Local ids are in the order of the ids, so that sorting them sorts the pairs.
    pairs = pairs.astype(np.uint64) if ids is None else ids[pairs]
    bins = None
    if histogram:
        full = bin_table != EMPTY
        rank = np.empty(used, np.int64)
        rank[order] = np.arange(used)
        rows = np.column_stack(
            [rank[bin_table[full] // BINS], bin_table[full] % BINS, bin_amounts[full]]
        )
        bins = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    contact, total, count, maximum = entries[order].T.copy()
    return EdgeStatistics(pairs, contact, total, count, maximum, bins)


def _is_sorted(pairs: np.ndarray) -> bool:
    """Whether the pairs increase strictly."""
    a, b = pairs.T
    return bool(((a[1:] > a[:-1]) | ((a[1:] == a[:-1]) & (b[1:] > b[:-1]))).all())


def _check_shape(values: np.ndarray, fragments: np.ndarray, offset: Offset) -> None:
    if values.shape != fragments.shape:
        raise InputError(
            f"affinity {offset} has {values.shape} voxels, the fragments {fragments.shape}; "
            "give both of the same box"
        )


def _local_ids(fragments: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Returns ids below 2**31 as keys of the hash table: None and the ids as they are, or the ids and their ranks."""
    if fragments.size and int(fragments.max()) >= 1 << 31:
        # Background has rank 0 even where there is none.
        ids, ranks = np.unique(fragments, return_inverse=True)
        if ids[0] != 0:
            ids, ranks = np.concatenate([[np.uint64(0)], ids]), ranks + 1
        return ids.astype(np.uint64), ranks.reshape(fragments.shape).astype(np.uint32)
    return None, np.ascontiguousarray(fragments, np.uint32)


def _add_bins(rows: np.ndarray) -> np.ndarray:
    """Adds up the amounts of rows (edge, bin, amount) with equal edge and bin; the result is sorted."""
    keys, index = np.unique(rows[:, 0] * BINS + rows[:, 1], return_inverse=True)
    amounts = np.zeros(len(keys), np.int64)
    np.add.at(amounts, index.reshape(-1), rows[:, 2])
    return np.column_stack([keys // BINS, keys % BINS, amounts])


class _State(NamedTuple):
    """Two open hash tables: pairs of fragments -> rows of `entries`, and (row, bin) -> amounts."""

    table: np.ndarray
    entry_of: np.ndarray
    keys: np.ndarray
    entries: np.ndarray
    used: int
    bin_table: np.ndarray
    bin_amounts: np.ndarray
    bins_used: int


def _gather_all(
    fragments: np.ndarray,
    values: np.ndarray,
    offset: np.ndarray,
    box: np.ndarray,
    contact: bool,
    histogram: bool,
    steady: bool,
    state: _State,
) -> _State:
    """Adds one channel (nothing if `values` is empty) and, with `contact`, the contacts along its axis.

    The compiled loop stops before a row in which a table may become more than half full, and continues with a larger
    table.
    """
    row, rows = 0, int(np.prod(np.maximum(box[:2, 1] - box[:2, 0], 0)))
    # Each voxel of a row adds at most one pair and one bin.
    room = 2 * max(int(box[2, 1] - box[2, 0]), 0)
    while True:
        row, used, bins_used = _gather(
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
def _gather(
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
