"""Segments that are too small or too large, and dense ids."""

from __future__ import annotations

import fastremap
import numpy as np

from emjax.errors import InputError
from emjax.segmentation.prediction import Affinities
from emjax.segmentation.region_graph import edge_statistics

SMALL = ("background", "neighbour")


def relabel(segmentation: np.ndarray) -> np.ndarray:
    """Returns ids 1..n, uint64, in the order of their first voxels; 0 stays 0."""
    dense, _ = fastremap.renumber(segmentation, preserve_zero=True, in_place=False)
    return dense.astype(np.uint64)


def remove_small(
    segmentation: np.ndarray,
    min_size: int,
    into: str = "background",
    affinities: Affinities | None = None,
) -> np.ndarray:
    """Removes segments of fewer than `min_size` voxels.

    Args:
        segmentation: `[z, y, x]` uint64, 0 = background.
        min_size: voxels; 0 and 1 remove nothing.
        into: 'background', or 'neighbour': the smallest first, each joins the segment it has the
            highest mean affinity with, or, without affinities, shares most faces with. What has no
            neighbour, and what is still too small with those that joined it, becomes background.
        affinities: of the same voxels.

    Returns:
        The same with fewer ids; none is renumbered.

    Raises:
        InputError: `into` is unknown.
    """
    if into not in SMALL:
        raise InputError(f"small={into!r} is unknown; use {' or '.join(SMALL)}")
    if min_size <= 1:
        return segmentation
    ids, inverse, sizes = np.unique(segmentation, return_inverse=True, return_counts=True)
    targets = np.arange(len(ids))
    sizes = np.where(ids > 0, sizes, 0)
    if into == "neighbour":
        targets = _absorb(segmentation, ids, sizes, min_size, affinities)
        np.add.at(joined := np.zeros_like(sizes), targets, sizes)
        sizes = joined[targets]
    lookup = np.where(sizes >= min_size, ids[targets], 0).astype(segmentation.dtype)
    return lookup[inverse.reshape(segmentation.shape)]


def remove_large(segmentation: np.ndarray, max_size: int) -> np.ndarray:
    """Makes background of segments of more than `max_size` voxels; 0 removes nothing."""
    if max_size < 1:
        return segmentation
    ids, inverse, sizes = np.unique(segmentation, return_inverse=True, return_counts=True)
    lookup = np.where(sizes <= max_size, ids, 0).astype(segmentation.dtype)
    return lookup[inverse.reshape(segmentation.shape)]


def _absorb(
    segmentation: np.ndarray,
    ids: np.ndarray,
    sizes: np.ndarray,
    min_size: int,
    affinities: Affinities | None,
) -> np.ndarray:
    """For each id the index of the id that it becomes part of."""
    statistics = edge_statistics(segmentation, affinities).touching()
    strength = statistics.contact if affinities is None else statistics.mean
    ends = np.searchsorted(ids, statistics.pairs)
    # Both directions of each edge, sorted by segment, the strongest (then the largest contact,
    # then the first id) at the head.
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
