"""The region graph: pairs of fragments with evidence that adds up across blocks.

All numbers are integers (affinities are counted in units of 2**-24), so that a sum over blocks equals the sum over the
whole to the last bit, in any order. So the result of a partition cannot depend on the blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from emjax.errors import InputError
from emjax.hash_table import EMPTY
from emjax.segmentation.contacts import BINS, UNIT, Tables, gather
from emjax.segmentation.prediction import NEAREST, Affinities, Offset


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
    state = Tables(table, entry_of, keys, entries, 0, bin_table, bin_amounts, 0)
    known = affinities.offsets if affinities is not None else ()
    nothing = np.zeros((0, 0, 0), np.float32)
    for offset in (*NEAREST, *(o for o in known if o not in NEAREST)):
        values = nothing
        if affinities is not None and offset in known:
            values = np.ascontiguousarray(affinities[known.index(offset)])
            _check_shape(values, fragments, offset)
        binned = histogram and offset in known
        state = gather(
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
