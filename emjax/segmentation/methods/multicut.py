"""The method `multicut`: watershed fragments, and a low-cost partition of their graph, without a merge threshold."""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.errors import InputError
from emjax.segmentation.evidence import Evidence, Graph, far, near, near_and_far
from emjax.segmentation.fragments import (
    NEEDS_BOUNDARY,
    FragmentSettings,
    has_boundary,
    make_fragments,
)
from emjax.segmentation.method import Memo, Method, Offsets
from emjax.segmentation.multicut import multicut
from emjax.segmentation.settings import choice, number


@dataclasses.dataclass(frozen=True, kw_only=True)
class MulticutSettings(FragmentSettings):
    """Fragments, partitioned at a low cost; see `emjax.segmentation.multicut.multicut`.

    Attributes:
        beta: prior of a boundary, in (0, 1); a higher prior cuts more. 0.5 is neutral; the default is lower, as blurred
            affinities are low at the edge of every contact, also between two parts of one object.
        weighted: whether long boundaries count more than short ones.
            The fragments in the code of arXiv:2308.09917 are boundary_threshold=0.25,
            flood=boundary, sigma_seeds=2, sigma_weights=2, boundary_weight=0.9, min_fragment=100.
        lifted: whether long-range affinities count between fragments that do not touch.
    """

    beta: float = number(0.3, 0.001, 0.999, grid=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), later=True)
    weighted: bool = choice(True, (False, True), later=True)
    lifted: bool = choice(False, (False, True), later=True)


def _check(settings: MulticutSettings, offsets: Offsets) -> None:
    longer = [o for o in offsets if o is not None and sum(o) < -1]
    if settings.lifted and not longer:
        raise InputError(
            "multicut: lifted=true needs long-range affinities, and the prediction has none; leave lifted out"
        )


def _of_touching(settings: MulticutSettings) -> Evidence:
    # It reads no maxima, and shares the table of agglomerate's default, so that a graph serves both.
    return (near_and_far if settings.long_range else near)(steady=True)


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
    united=True,
    check=_check,
)
