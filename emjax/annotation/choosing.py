"""Chooses places to label: those that a network is unsure of, spread over all kinds of tissue that there are.

Two streams lead the choice: how unsure a finetuned network is (what is hard for it), and features that were learnt
without labels (what kinds of tissue there are). Uncertainty alone picks the same hard spot many times; features alone
pick tissue that the network segments well already.

Source: "Two Stream Active Query Suggestion for Active Learning in Connectomics" (ECCV 2020,
doi:10.1007/978-3-030-58523-5_7), of which this keeps the two streams and the hierarchical clustering. That only an
unsure share enters the clustering is of "Batch Active Learning at Scale" (arXiv:2107.14263). Ward's tree of one
clustering for all budgets, so that a longer list begins with the shorter one, and labelled places that count as chosen,
are our choice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import cdist

# Features are brought to this many directions at most before distances are taken: more of them is mostly noise.
_DIRECTIONS = 32
# The tree needs the distances of all pairs: 8 bytes for each.
_MOST = 8192


class Choice(NamedTuple):
    """A list of places, the best first.

    Attributes:
        indices: `[n]` int, numbers of the places.
        stands_for: `[n]` int, number of places in the cluster that each was chosen from.
        novelty: `[n]` float, distance of its features from the nearest that is labelled or chosen before it; NaN for
            the first where nothing is labelled.
    """

    indices: np.ndarray
    stands_for: np.ndarray
    novelty: np.ndarray


def pool(
    uncertainty: np.ndarray, labelled: np.ndarray, budget: int, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places that are worth describing: only of these features are needed.

    Args:
        uncertainty: `[n]` float of each place; NaN: the place cannot be chosen.
        labelled: `[n]` bool, places of which labels exist; they are never chosen.
        budget: number of places wanted.
        share: share of the others, the most uncertain ones, that are chosen from; at least four times the budget are,
            and at most 8192.

    Returns:
        `[k]` int, labelled places, evenly spread if they are more than 8192; and `[m]` int, places to choose from, the
        most uncertain one first.
    """
    free = np.flatnonzero(~labelled & np.isfinite(uncertainty))
    count = min(len(free), _MOST, max(4 * budget, round(share * len(free))))
    # Stable, so that equal places come in their order.
    unsure = free[np.argsort(-uncertainty[free], kind="stable")[:count]]
    return _spread(np.flatnonzero(labelled), _MOST), unsure


def choose(features: np.ndarray, uncertainty: np.ndarray, known: int, budget: int) -> Choice:
    """Chooses places to label next.

    The tree of clusters is walked from its root: where a cluster parts into two halves, a half in which nothing is
    labelled or chosen yet gives its most uncertain place. So the first places are of the kinds of tissue that differ
    most, and a list for a smaller budget is the beginning of this one.

    Args:
        features: `[n, d]` float of each place of a pool.
        uncertainty: `[n]` float; of the first `known` places it does not matter.
        known: number of places, the first ones, that are labelled.
        budget: number of places wanted.

    Returns:
        At most `budget` places, numbered as the rows of `features`; fewer where there are no more.
    """
    if len(features) <= known or budget < 1:
        return Choice(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    points = _reduced(features)
    doubt = np.where(np.arange(len(features)) < known, -np.inf, uncertainty)
    picked, sizes = _walk(points, doubt, known, budget)
    return Choice(picked, sizes, _novelty(points, known, picked))


def _spread(indices: np.ndarray, most: int) -> np.ndarray:
    """Returns at most so many of some indices, evenly spread."""
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).round().astype(int)]


def _reduced(features: np.ndarray) -> np.ndarray:
    """Returns standardized features in their main directions, `[n, k]` float64."""
    centred = features.astype(np.float64) - features.mean(axis=0)
    deviation = centred.std(axis=0)
    # A feature that never changes says nothing, and would be divided by 0.
    centred = centred[:, deviation > 1e-12] / deviation[deviation > 1e-12]
    if not centred.size:
        return np.zeros((len(features), 1))
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return (left * sizes)[:, :_DIRECTIONS]


def _walk(
    points: np.ndarray, doubt: np.ndarray, known: int, budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """Walks the tree; returns the places chosen, and the sizes of their clusters."""
    count = len(points)
    tree = linkage(points, "ward") if count > 1 else np.zeros((0, 4))
    # Of each node of the tree: its most doubtful place, whether a labelled one is in it, its number of free places.
    best = np.concatenate([np.arange(count), np.zeros(len(tree), int)])
    seeded = np.concatenate([np.arange(count) < known, np.zeros(len(tree), bool)])
    free = np.concatenate([(np.arange(count) >= known).astype(int), np.zeros(len(tree), int)])
    halves = tree[:, :2].astype(int)
    for row, (left, right) in enumerate(halves):
        node = count + row
        first, second = best[left], best[right]
        best[node] = second if doubt[second] > doubt[first] else first
        seeded[node] = seeded[left] or seeded[right]
        free[node] = free[left] + free[right]
    root = len(best) - 1
    # Place -> number of free places in its cluster, in the order of the choice.
    chosen: dict[int, int] = {} if seeded[root] else {int(best[root]): int(free[root])}
    # Nodes are numbered by the height at which they were joined.
    for node in range(root, count - 1, -1):
        for half in halves[node - count]:
            # Of an unlabelled node, the place that was chosen for it is the best one of a half, too.
            place = int(best[half])
            if not seeded[half] and (place in chosen or len(chosen) < budget):
                chosen[place] = int(free[half])
        if len(chosen) >= budget:
            break
    return np.fromiter(chosen, int), np.fromiter(chosen.values(), int)


def _novelty(points: np.ndarray, known: int, picked: np.ndarray) -> np.ndarray:
    before = points[:known]
    found = np.full(len(picked), np.nan)
    for row, place in enumerate(picked):
        others = np.concatenate([before, points[picked[:row]]])
        if len(others):
            found[row] = cdist(points[place][None], others).min()
    return found
