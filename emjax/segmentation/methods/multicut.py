"""The method `multicut`: watershed fragments, and a partition of their graph at low cost, without a threshold."""

from __future__ import annotations

import dataclasses

import bioimage_cpp.graph as graphs
import numpy as np
from bioimage_cpp.graph import lifted_multicut as lifted_solvers
from bioimage_cpp.graph import multicut as solvers

from emjax.errors import InputError
from emjax.segmentation.clusters import smallest_ids
from emjax.segmentation.edge_statistics import EdgeStatistics
from emjax.segmentation.evidence import Evidence, Graph, far, near, near_and_far
from emjax.segmentation.fragments import (
    NEEDS_BOUNDARY,
    FragmentSettings,
    has_boundary,
    make_fragments,
)
from emjax.segmentation.method import Memo, Method, Offsets
from emjax.segmentation.settings import choice, number

# Probabilities are kept this far from 0 and 1, where the cost would be infinite.
_MARGIN = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class MulticutSettings(FragmentSettings):
    """Fragments, partitioned at least cost; see `multicut`.

    Attributes:
        beta: prior of a boundary; more cuts more.
        weighted: whether long boundaries count more than short ones.
            The fragments in the code of arXiv:2308.09917 are boundary_threshold=0.25,
            flood=boundary, sigma_seeds=2, sigma_weights=2, boundary_weight=0.9, min_fragment=100.
        lifted: whether long-range affinities count between fragments that do not touch.
    """

    beta: float = number(0.5, 0.001, 0.999, grid=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), later=True)
    weighted: bool = choice(True, (False, True), later=True)
    lifted: bool = choice(False, (False, True), later=True)


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
        solver = solvers.ChainedMulticutSolvers(
            [solvers.GreedyAdditiveMulticut(), solvers.KernighanLinMulticut()]
        )
        return smallest_ids(ids, solver.optimize(solvers.MulticutObjective(graph, costs)))
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


def _nodes(ids: np.ndarray, statistics: EdgeStatistics) -> np.ndarray:
    return np.searchsorted(ids, statistics.pairs).astype(np.uint64)


def _check(settings: MulticutSettings, offsets: Offsets) -> None:
    longer = [o for o in offsets if o is not None and sum(o) < -1]
    if settings.lifted and not longer:
        raise InputError(
            "multicut: lifted=true needs long-range affinities, and the prediction has none; leave lifted out"
        )


def _of_touching(settings: MulticutSettings) -> Evidence:
    return near_and_far() if settings.long_range else near()


def _evidence(settings: MulticutSettings) -> Evidence:
    return {**_of_touching(settings), **(far() if settings.lifted else {})}


def _partition(graph: Graph, settings: MulticutSettings, memo: Memo | None) -> np.ndarray:
    del memo
    (name,) = _of_touching(settings)
    return multicut(
        graph.ids,
        graph.tables[name],
        beta=settings.beta,
        weighted=settings.weighted,
        lifted=graph.tables.get("far"),
    )


METHOD = Method(
    summary="fragments, then a partition of their graph at low cost; long-range affinities as lifted edges",
    settings=MulticutSettings,
    needs=NEEDS_BOUNDARY,
    fits=has_boundary,
    fragments=make_fragments,
    evidence=_evidence,
    partition=_partition,
    check=_check,
)
