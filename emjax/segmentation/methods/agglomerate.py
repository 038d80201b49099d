"""The method `agglomerate`: watershed fragments, merged in the order of the highest affinity."""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.segmentation.agglomeration import LINKAGES, agglomerate
from emjax.segmentation.evidence import Evidence, Graph, near, near_and_far
from emjax.segmentation.fragments import (
    NEEDS_BOUNDARY,
    FragmentSettings,
    has_boundary,
    make_fragments,
)
from emjax.segmentation.method import Memo, Method, once
from emjax.segmentation.settings import choice, fragment_key, number


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgglomerateSettings(FragmentSettings):
    """Fragments, merged strongest first; see `emjax.segmentation.agglomeration.agglomerate`.

    Attributes:
        linkage: 'mean', 'quantile', 'quantile_of_maxima' or 'quantile_of_steady_maxima' of the affinities between
            two clusters. The last is the median of the fragment pairs' largest affinities, where a single one that
            stands out from those around it does not count: so one wrong voxel joins nothing. The code of
            arXiv:2308.09917 takes 'quantile_of_maxima', and fragments plane=true, boundary=mean, flood=boundary,
            sigma_seeds=0.
        quantile: percent, 0 to 100.
        threshold: affinities above this merge; a higher one merges less. waterz' threshold is 1 - this.
    """

    linkage: str = choice(
        "quantile_of_steady_maxima", LINKAGES, (*LINKAGES[:2], LINKAGES[-1]), later=True
    )
    quantile: int = number(50, 0, 100, later=True)
    threshold: float = number(
        0.5, 0, 1, grid=(0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), later=True
    )


def _evidence(settings: AgglomerateSettings) -> Evidence:
    gather = near_and_far if settings.long_range else near
    return gather(
        histogram=settings.linkage == "quantile",
        # The mean reads no maxima: it shares the table of the default, so that a graph serves both.
        steady=settings.linkage in ("mean", "quantile_of_steady_maxima"),
    )


def _partition(graph: Graph, settings: AgglomerateSettings, memo: Memo | None) -> np.ndarray:
    (name,) = _evidence(settings)
    tree = once(
        memo,
        "tree",
        (*fragment_key(settings), name, settings.linkage, settings.quantile),
        lambda: agglomerate(
            graph.tables[name],
            linkage=settings.linkage,
            quantile=settings.quantile,
            # With a memo, merge to the end, so that other thresholds are cuts of the same tree.
            threshold=settings.threshold if memo is None else 0.0,
        ),
    )
    return tree.cut(graph.ids, settings.threshold)


METHOD = Method(
    summary="watershed fragments, then the pair with the highest mean or median affinity merges first",
    settings=AgglomerateSettings,
    needs=NEEDS_BOUNDARY,
    fits=has_boundary,
    fragments=make_fragments,
    evidence=_evidence,
    partition=_partition,
    united=True,
)
