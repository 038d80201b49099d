"""Multicut of the region graph: the edges to cut so that the total cost is low, without a merge threshold.

This module is the algorithm; `emjax.segmentation.methods.multicut` is the method that uses it.
"""

from __future__ import annotations

import bioimage_cpp.graph as graphs
import numpy as np
from bioimage_cpp.graph import lifted_multicut as lifted_solvers
from bioimage_cpp.graph import multicut as solvers
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from emjax.compiled import compiled
from emjax.segmentation.clusters import smallest_ids
from emjax.segmentation.region_graph import EdgeStatistics

# Probabilities are kept at least this far from 0 and 1, where the cost would be infinite.
_MARGIN = 1e-3
# Parts with up to this many fragments are solved exactly: up to four million partitions, most of them ruled out early.
EXACT = 12


def edge_costs(statistics: EdgeStatistics, beta: float, weighted: bool = True) -> np.ndarray:
    """Returns the cost of cutting each edge: positive where the two sides belong together.

    With p = 1 - mean affinity, the probability of a boundary, the cost is
    log((1 - p) / p) + log((1 - beta) / beta).

    Args:
        statistics: of the edges.
        beta: prior of a boundary, in (0, 1); a higher prior cuts more.
        weighted: whether to scale costs by the edge's number of affinities, relative to the largest number of any edge.

    Returns:
        `[n]` float64; 0 for an edge without any affinity.

    Source: Beier et al., Nature Methods 14 (2017), doi:10.1038/nmeth.4151.
    """
    boundary = np.clip(1 - statistics.mean, _MARGIN, 1 - _MARGIN)
    costs = np.log((1 - boundary) / boundary) + np.log((1 - beta) / beta)
    if weighted and len(statistics):
        costs = costs * (statistics.count / max(int(statistics.count.max()), 1))
    return np.where(statistics.count > 0, costs, 0.0)


def multicut(
    ids: np.ndarray,
    statistics: EdgeStatistics,
    *,
    beta: float = 0.5,
    weighted: bool = True,
    lifted: EdgeStatistics | None = None,
) -> np.ndarray:
    """Partitions fragments so that the cut edges have a low total cost.

    Greedy additive edge contraction, improved by Kernighan-Lin moves: a heuristic. Parts of at most `EXACT` fragments
    that no positive cost connects to others are then solved exactly, unless there are lifted edges.

    Args:
        ids: `[k]` uint64, sorted fragment ids.
        statistics: of the pairs that touch; other pairs are ignored.
        beta: prior of a boundary, in (0, 1); 0.5 is neutral, a higher prior cuts more.
        weighted: whether long boundaries count more than short ones.
        lifted: of long-range affinities; those between fragments that do not touch count for or against putting
            the two into one cluster, but cannot join them by themselves (lifted multicut).

    Returns:
        `[k]` uint64, the smallest id of each fragment's cluster.

    Source: Keuper et al., arXiv:1505.06973 (both solvers, lifted edges).
    """
    touching = statistics.touching()
    if not len(touching):
        return ids.copy()
    graph = graphs.UndirectedGraph.from_unique_edges(len(ids), _nodes(ids, touching))
    costs = edge_costs(touching, beta, weighted)
    if lifted is None:
        solver = solvers.ChainedMulticutSolvers(
            [solvers.GreedyAdditiveMulticut(), solvers.KernighanLinMulticut()]
        )
        found = solver.optimize(solvers.MulticutObjective(graph, costs))
        return smallest_ids(ids, least_cost_of_small(_nodes(ids, touching), costs, found))
    apart = lifted.select((lifted.contact == 0) & (lifted.count > 0))
    objective = lifted_solvers.LiftedMulticutObjective(
        graph,
        costs,
        lifted_uvs=_nodes(ids, apart),
        lifted_costs=edge_costs(apart, beta, weighted),
    )
    lifted_solver = lifted_solvers.LiftedChainedSolvers(
        [
            lifted_solvers.LiftedGreedyAdditiveMulticut(),
            lifted_solvers.LiftedKernighanLinMulticut(),
        ]
    )
    return smallest_ids(ids, lifted_solver.optimize(objective))


def least_cost_of_small(
    ends: np.ndarray, costs: np.ndarray, clusters: np.ndarray, most: int = EXACT
) -> np.ndarray:
    """Partitions the small parts of a graph at the least possible cost.

    No cluster of a least-cost partition needs to span two parts that only costs of 0 or less connect, as cutting these
    costs nothing or less. So each part that positive costs connect is a separate problem.

    Args:
        ends: `[n, 2]` nodes of each edge.
        costs: `[n]` float64, the cost of cutting each edge.
        clusters: `[k]` an initial partition of the nodes; it stays where no better one exists.
        most: largest number of nodes of a part that is solved.

    Returns:
        `[k]` int64, equal numbers for nodes of the same cluster.
    """
    count = len(clusters)
    ends = ends.astype(np.int64)
    named = smallest_ids(np.arange(count), clusters)
    part = _connected(count, ends[costs > 0])
    sizes = np.bincount(part, minlength=1)
    small = (sizes > 1) & (sizes <= most)
    inside = (part[ends[:, 0]] == part[ends[:, 1]]) & small[part[ends[:, 0]]]
    nodes = np.flatnonzero(small[part])
    nodes = nodes[np.argsort(part[nodes], kind="stable")]
    edges = np.flatnonzero(inside)
    edges = edges[np.argsort(part[ends[edges, 0]], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(sizes[small])])
    bounds = np.searchsorted(part[ends[edges, 0]], np.append(np.flatnonzero(small), len(sizes)))
    place = np.zeros(count, np.int64)
    place[nodes] = np.arange(len(nodes)) - np.repeat(starts[:-1], sizes[small])
    for i in range(len(starts) - 1):
        own = nodes[starts[i] : starts[i + 1]]
        rows = edges[bounds[i] : bounds[i + 1]]
        weights = np.zeros((len(own), len(own)))
        a, b = place[ends[rows]].T
        weights[a, b] = weights[b, a] = costs[rows]
        _, given = np.unique(named[own], return_inverse=True)
        better = _least_cost(weights, given.astype(np.int64))
        if better[0] >= 0:
            # Numbers that no other cluster has.
            named[own] = count + smallest_ids(own, better)
    # Nodes that no edge connects could be in one cluster at no cost, which would mean nothing.
    kept = ends[named[ends[:, 0]] == named[ends[:, 1]]]
    return _connected(count, kept)


def _connected(count: int, pairs: np.ndarray) -> np.ndarray:
    """Returns the index, from 0, of the connected component of each node."""
    links = coo_array((np.ones(len(pairs), np.uint8), tuple(pairs.T)), shape=(count, count))
    return connected_components(links, directed=False)[1]


@compiled
def _least_cost(weights, given):
    """Returns the labels of the partition with the least cost; all -1 if none costs less than the given one.

    All partitions are visited depth first, node by node, where a node joins a cluster or begins the next one; branches
    are skipped that cannot be better: those whose cost so far, plus all negative costs to come, reaches the best known.
    """
    count = len(given)
    # Nodes with the largest costs come first, as they decide most.
    order = np.argsort(-np.abs(weights).sum(axis=1))
    cost = 0.0
    # The most that can still be gained once the nodes before the i-th have their cluster.
    gain = np.zeros(count + 1)
    for i in range(count - 1, -1, -1):
        gain[i] = gain[i + 1]
        for j in range(i):
            gain[i] += min(weights[order[i], order[j]], 0.0)
    for i in range(count):
        for j in range(i):
            if given[i] != given[j]:
                cost += weights[i, j]
    # A gain within rounding errors does not count.
    best = cost - 1e-9 * np.abs(weights).sum()
    found = np.full(count, -1)
    labels = np.full(count, -1)
    used = np.zeros(count + 1, np.int64)
    spent = np.zeros(count + 1)
    i = 0
    while i >= 0:
        labels[i] += 1
        if labels[i] > used[i]:
            labels[i] = -1
            i -= 1
            continue
        total = spent[i]
        for j in range(i):
            if labels[j] != labels[i]:
                total += weights[order[i], order[j]]
        if total + gain[i + 1] >= best:
            continue
        if i == count - 1:
            best = total
            for j in range(count):
                found[order[j]] = labels[j]
            continue
        spent[i + 1] = total
        used[i + 1] = max(used[i], labels[i] + 1)
        i += 1
    return found


def _nodes(ids: np.ndarray, statistics: EdgeStatistics) -> np.ndarray:
    return np.searchsorted(ids, statistics.pairs).astype(np.uint64)
