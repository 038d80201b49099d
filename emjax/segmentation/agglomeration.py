"""Hierarchical agglomeration of fragments: the edge with the highest affinity merges first.

This module is the algorithm; `emjax.segmentation.methods.agglomerate` is the method that uses it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.compiled import compiled
from emjax.errors import InputError
from emjax.hash_table import EMPTY, find_place
from emjax.segmentation.clusters import joined
from emjax.segmentation.contacts import BINS, UNIT
from emjax.segmentation.region_graph import EdgeStatistics

LINKAGES = ("mean", "quantile", "quantile_of_maxima", "quantile_of_steady_maxima")
# With this many half edges or more, their indices need 64 bits.
_MANY = 2**31


@dataclasses.dataclass(frozen=True)
class Dendrogram:
    """All merges of an agglomeration, strongest first; one run serves every threshold.

    Attributes:
        pairs: `[n, 2]` uint64, for each merge one fragment of each of the two clusters.
        affinity: `[n]` float64, of the edge that merged; never increases.
    """

    pairs: np.ndarray
    affinity: np.ndarray

    def cut(self, ids: np.ndarray, threshold: float) -> np.ndarray:
        """Joins fragments by all merges with an affinity above a threshold.

        Args:
            ids: `[k]` uint64, sorted fragment ids; contains all ids that occur in `pairs`.
            threshold: affinity in [0, 1]; a higher one merges less.

        Returns:
            `[k]` uint64, the smallest id of each fragment's cluster.
        """
        return joined(ids, self.pairs[self.affinity > threshold])


def agglomerate(
    statistics: EdgeStatistics,
    *,
    linkage: str = "mean",
    quantile: int = 50,
    threshold: float = 0.0,
) -> Dendrogram:
    """Merges the pair of clusters with the highest affinity until none is above a threshold.

    The affinity of two clusters is, over all affinities between their voxels:
      - 'mean': their mean.
      - 'quantile': their quantile (50 = median), from histograms; the centre of a bin.
      - 'quantile_of_maxima': the quantile over the pairs of fragments between them, each of which
        counts once, with its largest affinity.
      - 'quantile_of_steady_maxima': the same of statistics that were gathered as `steady`, so that one wrong voxel
        joins nothing.
    Only clusters that touch merge; long-range affinities count as evidence on these.

    Args:
        statistics: edges of the region graph; 'quantile' needs histograms.
        linkage: see above.
        quantile: percent, 0 to 100.
        threshold: affinity in [0, 1] at which to stop. waterz' threshold is 1 - this.

    Returns:
        The merges. Of equal affinities the earlier pair merges first, so that the result is always the same.

    Raises:
        InputError: unknown linkage, a quantile outside of 0 to 100, or no histograms where they are needed.

    Source: Funke et al., IEEE TPAMI 41 (2019), arXiv:1709.02974 (mean, quantiles, and the maxima
    that its program starts from). Mean and quantile of a union are never above the larger of the
    two, which is why one run gives the result for all thresholds.
    """
    if linkage not in LINKAGES:
        raise InputError(f"linkage={linkage!r} is unknown; use {', '.join(LINKAGES)}")
    if not 0 <= quantile <= 100:
        raise InputError(f"quantile={quantile} is no percentage; use 0 to 100, 50 is the median")
    # Pairs that touch but have no affinity (count 0) never merge.
    touching = statistics.select((statistics.contact > 0) & (statistics.count > 0))
    histogram = touching.histogram
    ids = np.unique(touching.pairs)
    ends = np.searchsorted(ids, touching.pairs)
    if linkage == "mean":
        percent = -1
        amounts = np.stack([touching.total, touching.count], axis=1)
        rows = np.zeros((0, 3), np.int64)
    else:
        percent = quantile
        if linkage == "quantile":
            if histogram is None:
                raise InputError(
                    "linkage='quantile' needs histograms; gather them with histogram=True"
                )
            rows = histogram.copy()
        else:
            bins = np.minimum(touching.maximum * BINS // UNIT, BINS - 1)
            rows = np.column_stack([np.arange(len(touching)), bins, np.ones_like(bins)])
        amounts = np.zeros((len(touching), 2), np.int64)
        np.add.at(amounts[:, 1], rows[:, 0], rows[:, 2])
    # Edge indices take half of the memory: they have 32 bits where that suffices.
    numbers = np.int32 if 2 * max(len(ends), len(rows)) < _MANY else np.int64
    merges, affinity = _merge(
        len(ids), ends, amounts, rows, percent, threshold, np.empty(0, numbers)
    )
    return Dendrogram(ids[merges], affinity)


# Histograms are linked lists of their non-empty bins in one pool: `first[edge]` is the edge's first
# row of `rows`, `after[row]` the next one, -1 the end. An edge costs what it holds, not 256 bins.


@compiled
def _affinity(edge, amounts, rows, first, after, percent):
    """Returns the affinity of an edge, including all edges joined to it so far."""
    count = amounts[edge, 1]
    if percent < 0:
        return amounts[edge, 0] / count / UNIT
    pivot = min(percent * count // 100 + 1, count)
    row = first[edge]
    seen = rows[row, 2]
    while seen < pivot:
        row = after[row]
        seen += rows[row, 2]
    return (rows[row, 1] + 0.5) / BINS


@compiled
def _join(into, edge, amounts, rows, first, after):
    """Adds the statistics of one edge to those of another."""
    amounts[into, 0] += amounts[edge, 0]
    amounts[into, 1] += amounts[edge, 1]
    a, b, tail = first[into], first[edge], -1
    while a >= 0 or b >= 0:
        if b < 0 or (a >= 0 and rows[a, 1] <= rows[b, 1]):
            row = a
            a = after[a]
            if b >= 0 and rows[row, 1] == rows[b, 1]:
                rows[row, 2] += rows[b, 2]
                b = after[b]
        else:
            row = b
            b = after[b]
        if tail < 0:
            first[into] = row
        else:
            after[tail] = row
        after[row] = -1
        tail = row


@compiled
def _before(a, b, worth):
    """Whether edge a precedes edge b in the queue."""
    return worth[a] > worth[b] or (worth[a] == worth[b] and a < b)


@compiled
def _settle(heap, place, size, i, worth):
    """Moves the edge at position i of the binary heap up or down to its right position."""
    edge = heap[i]
    while i > 0 and _before(edge, heap[(i - 1) // 2], worth):
        heap[i] = heap[(i - 1) // 2]
        place[heap[i]] = i
        i = (i - 1) // 2
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and _before(heap[child + 1], heap[child], worth):
            child += 1
        if not _before(heap[child], edge, worth):
            break
        heap[i] = heap[child]
        place[heap[i]] = i
        i = child
    heap[i] = edge
    place[edge] = i


@compiled
def _remove(heap, place, size, edge, worth):
    """Removes an edge from the heap and returns the heap's new size."""
    i = place[edge]
    place[edge] = -1
    size -= 1
    if i < size:
        heap[i] = heap[size]
        place[heap[i]] = i
        _settle(heap, place, size, i, worth)
    return size


@compiled
def _fill(table, edge_at, nodes, ends, alive):
    """Refills the table from pairs of nodes to edges, in place; returns the number of its entries."""
    table[:] = EMPTY
    used = 0
    for e in range(len(ends)):
        if alive[e]:
            u, v = min(ends[e, 0], ends[e, 1]), max(ends[e, 0], ends[e, 1])
            spot = find_place(table, u * nodes + v)
            table[spot] = u * nodes + v
            edge_at[spot] = e
            used += 1
    return used


@compiled
def _merge(nodes, ends, amounts, rows, percent, threshold, numbers):
    """The loop of `agglomerate`.

    Args:
        nodes: number of fragments.
        ends: `[n, 2]` nodes of each edge; changed.
        amounts: `[n, 2]` total and count of each edge; changed.
        rows: `[m, 3]` (edge, bin, amount) of the histograms, sorted; changed.
        percent: quantile, or -1 for the mean.
        threshold: affinity at which to stop.
        numbers: empty array whose type is used for the indices of edges.
    """
    edges = len(ends)
    first = np.full(edges, -1, numbers.dtype)
    after = np.full(len(rows), -1, numbers.dtype)
    for row in range(len(rows) - 1, -1, -1):
        after[row] = first[rows[row, 0]]
        first[rows[row, 0]] = row
    # Edges of a node: a linked list of half edges (2 e at ends[e, 0], 2 e + 1 at ends[e, 1]).
    head = np.full(nodes, -1, numbers.dtype)
    tail = np.full(nodes, -1, numbers.dtype)
    degree = np.zeros(nodes, np.int64)
    following = np.full(2 * edges, -1, numbers.dtype)
    worth = np.empty(edges, np.float64)
    heap, place = np.empty(edges, numbers.dtype), np.empty(edges, numbers.dtype)
    alive = np.ones(edges, np.bool_)
    for e in range(edges):
        heap[e] = place[e] = e
        worth[e] = _affinity(e, amounts, rows, first, after, percent)
        for side in range(2):
            node = ends[e, side]
            following[2 * e + side] = head[node]
            if head[node] < 0:
                tail[node] = 2 * e + side
            head[node] = 2 * e + side
            degree[node] += 1
    size = edges
    for i in range(size):
        # Each edge rises into the heap of the edges before it.
        _settle(heap, place, i + 1, i, worth)
    # The table is at most a third full at first.
    capacity = 8
    while capacity < 3 * edges:
        capacity *= 2
    table = np.empty(capacity, np.int64)
    edge_at: np.ndarray = np.empty(capacity, numbers.dtype)
    used = _fill(table, edge_at, nodes, ends, alive)

    merges = np.empty((max(nodes - 1, 0), 2), np.int64)
    affinity = np.empty(max(nodes - 1, 0))
    merged = 0
    while size and worth[heap[0]] > threshold:
        e = heap[0]
        a, b = ends[e, 0], ends[e, 1]
        merges[merged, 0], merges[merged, 1], affinity[merged] = a, b, worth[e]
        merged += 1
        size = _remove(heap, place, size, e, worth)
        alive[e] = False
        # The shorter list moves: each half edge moves at most log2(edges) times.
        if degree[a] < degree[b]:
            a, b = b, a
        half = head[b]
        while half >= 0:
            later = following[half]
            moving, side = half // 2, half % 2
            if alive[moving]:
                c = ends[moving, 1 - side]
                key = min(a, c) * nodes + max(a, c)
                spot = find_place(table, key)
                if table[spot] == key:
                    kept = edge_at[spot]
                    _join(kept, moving, amounts, rows, first, after)
                    size = _remove(heap, place, size, moving, worth)
                    alive[moving] = False
                    worth[kept] = _affinity(kept, amounts, rows, first, after, percent)
                    _settle(heap, place, size, place[kept], worth)
                else:
                    ends[moving, side] = a
                    following[half] = -1
                    if head[a] < 0:
                        head[a] = half
                    else:
                        following[tail[a]] = half
                    tail[a] = half
                    degree[a] += 1
                    # Keys of merged nodes stay in the table until it is half full.
                    table[spot] = key
                    edge_at[spot] = moving
                    used += 1
                    if 2 * used > table.size:
                        used = _fill(table, edge_at, nodes, ends, alive)
            half = later
    return merges[:merged], affinity[:merged]
