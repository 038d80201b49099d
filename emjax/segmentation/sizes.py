"""Limits on object sizes: objects that are too small or too large are removed, or joined to a neighbour."""

from __future__ import annotations

import dataclasses

import fastremap
import numpy as np

from emjax.compiled import compiled
from emjax.segmentation.region_graph import EdgeStatistics, contract

SMALL = ("background", "neighbour")


def relabel(segmentation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Renumbers segments in the order of their first voxels.

    Returns:
        dense: uint64 ids 1..n; 0 stays 0.
        sizes: `[n]` int64, voxels of each segment.
    """
    ids = np.ascontiguousarray(segmentation)
    most = int(ids.max(initial=0))
    if most > ids.size:
        # The range of ids is too large for a table of all possible ids.
        ids, _ = fastremap.renumber(ids, preserve_zero=True, in_place=False)
        most = int(ids.max())
    dense = np.empty(ids.shape, np.uint64)
    number, sizes = np.zeros((2, most + 1), np.int64)
    count = _number(ids.reshape(-1), number, sizes, dense.reshape(-1))
    return dense, sizes[1 : count + 1].copy()


def remove_small(segmentation: np.ndarray, min_size: int) -> np.ndarray:
    """Turns segments of fewer than `min_size` voxels into background; 0 and 1 remove nothing.

    Args:
        segmentation: `[z, y, x]` uint64, 0 = background.
        min_size: voxels.

    Returns:
        The same segmentation without the small segments; ids are not renumbered.
    """
    if min_size <= 1:
        return segmentation
    ids, inverse, sizes = np.unique(segmentation, return_inverse=True, return_counts=True)
    lookup = np.where(sizes >= min_size, ids, 0).astype(segmentation.dtype)
    return lookup[inverse.reshape(segmentation.shape)]


def limit_sizes(
    clusters: np.ndarray,
    sizes: np.ndarray,
    *,
    min_size: int = 0,
    small: str = "background",
    max_size: int = 0,
    ids: np.ndarray | None = None,
    statistics: EdgeStatistics | None = None,
) -> np.ndarray:
    """Removes clusters that are too small, or joins them to a neighbour, then removes clusters that are too large.

    Args:
        clusters: `[k]` uint64, the cluster of each fragment; 0 = background.
        sizes: `[k]` int64, voxels of each fragment.
        min_size: voxels; smaller clusters are too small; 0 and 1 keep all.
        small: what happens to them: they become 'background', or, with 'neighbour', the smallest first, each joins
            the cluster with which it has the highest mean affinity, or, without affinities, shares the most
            faces. A cluster without a neighbour, and one that is still too small with those that joined it,
            becomes background.
        max_size: voxels; larger clusters become background; 0 keeps all.
        ids: `[k]` uint64, sorted fragment ids; for 'neighbour'.
        statistics: of pairs of fragments; for 'neighbour'.

    Returns:
        `[k]` uint64, the cluster of each fragment, with fewer clusters.
    """
    names, inverse = np.unique(clusters, return_inverse=True)
    totals = np.zeros(len(names), np.int64)
    np.add.at(totals, inverse, sizes)
    totals[names == 0] = 0
    targets = np.arange(len(names))
    if min_size > 1:
        if small == "neighbour":
            if statistics is None or ids is None:
                raise ValueError("small='neighbour' needs statistics and ids of the fragments")
            without = dataclasses.replace(statistics, histogram=None)
            touching = contract(without, ids, clusters).touching()
            targets = _absorb(names, totals, min_size, touching)
            np.add.at(joined := np.zeros_like(totals), targets, totals)
            totals = joined[targets]
        names = np.where(totals >= min_size, names[targets], 0)
    if max_size > 0:
        names = np.where(totals <= max_size, names, 0)
    return names[inverse].astype(np.uint64)


def _absorb(
    ids: np.ndarray, sizes: np.ndarray, min_size: int, statistics: EdgeStatistics
) -> np.ndarray:
    """Returns, for each id, the index of the id that it becomes part of."""
    strength = statistics.mean if statistics.count.any() else statistics.contact
    ends = np.searchsorted(ids, statistics.pairs)
    # Both directions of each edge, sorted by segment; the strongest edge of a segment (then the one with the largest
    # contact, then the first id) comes first.
    here, there = np.concatenate([ends, ends[:, ::-1]]).T
    order = np.lexsort((there, -np.tile(statistics.contact, 2), -np.tile(strength, 2), here))
    here, there = here[order], there[order]
    starts = np.searchsorted(here, np.arange(len(ids) + 1))
    parents = np.arange(len(ids))
    whole = sizes.copy()

    def root(node: int) -> int:
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    small = np.flatnonzero((sizes > 0) & (sizes < min_size))
    for node in small[np.argsort(sizes[small], kind="stable")]:
        own = root(node)
        if whole[own] >= min_size:
            continue
        for other in there[starts[node] : starts[node + 1]]:
            target = root(other)
            if target != own:
                parents[own] = target
                whole[target] += whole[own]
                break
    return np.array([root(node) for node in range(len(ids))])


@compiled
def _number(ids, number, sizes, dense):
    """Fills `dense`, the `number` of each id, and the `sizes` by number; returns the number of segments."""
    count, voxel = 0, 0
    while voxel < ids.size:
        known = ids[voxel]
        if known != 0 and number[known] == 0:
            count += 1
            number[known] = count
        own = number[known]
        first = voxel
        while voxel < ids.size and ids[voxel] == known:
            dense[voxel] = own
            voxel += 1
        sizes[own] += voxel - first
    return count
