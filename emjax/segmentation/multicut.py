"""Multicut of the region graph: the partition of least cost, without a threshold to merge at."""

from __future__ import annotations

import bioimage_cpp.graph as graphs
import numpy as np
from bioimage_cpp.graph import lifted_multicut as lifted_solvers
from bioimage_cpp.graph import multicut as solvers

from emjax.segmentation.region_graph import EdgeStatistics

# Probabilities are kept this far from 0 and 1, where the cost would be infinite.
_MARGIN = 1e-3


def edge_costs(statistics: EdgeStatistics, beta: float, weighted: bool = True) -> np.ndarray:
    """Cost of cutting each edge: positive where the two sides belong together.

    With p = 1 - mean affinity, the probability of a boundary, the cost is
    log((1 - p) / p) + log((1 - beta) / beta).

    Args:
        statistics: of the edges.
        beta: prior of a boundary, in (0, 1); more cuts more.
        weighted: whether costs are scaled by the number of affinities relative to the largest one.

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
    """Partitions fragments: greedy additive edge contraction, improved by Kernighan-Lin moves.

    Args:
        ids: `[k]` uint64, sorted fragment ids.
        statistics: of the pairs that touch; others are left out.
        beta: prior of a boundary, in (0, 1); 0.5 is neutral, more cuts more.
        weighted: whether long boundaries count more than short ones.
        lifted: of long-range affinities; those between fragments that do not touch say whether the
            two belong together, but cannot join them by themselves (lifted multicut).

    Returns:
        `[k]` uint64, for each id the smallest id of its cluster.

    Source: Keuper et al., arXiv:1505.06973 (both solvers, lifted edges).
    """
    touching = statistics.touching()
    if not len(touching):
        return ids.copy()
    graph = graphs.UndirectedGraph.from_unique_edges(len(ids), _nodes(ids, touching))
    costs = edge_costs(touching, beta, weighted)
    if lifted is None:
        objective = solvers.MulticutObjective(graph, costs)
        solver = solvers.ChainedMulticutSolvers(
            [solvers.GreedyAdditiveMulticut(), solvers.KernighanLinMulticut()]
        )
    else:
        apart = lifted.select((lifted.contact == 0) & (lifted.count > 0))
        objective = lifted_solvers.LiftedMulticutObjective(
            graph,
            costs,
            lifted_uvs=_nodes(ids, apart),
            lifted_costs=edge_costs(apart, beta, weighted),
        )
        solver = lifted_solvers.LiftedChainedSolvers(
            [
                lifted_solvers.LiftedGreedyAdditiveMulticut(),
                lifted_solvers.LiftedKernighanLinMulticut(),
            ]
        )
    return _smallest(ids, solver.optimize(objective))


def _nodes(ids: np.ndarray, statistics: EdgeStatistics) -> np.ndarray:
    return np.searchsorted(ids, statistics.pairs).astype(np.uint64)


def _smallest(ids: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The smallest id of each id's cluster; `ids` are sorted, so that it is the first one."""
    _, first, index = np.unique(clusters, return_index=True, return_inverse=True)
    return ids[first[index.reshape(-1)]]
