"""The table of the methods: what each makes fragments of, what it asks about them, and how it joins them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from emjax.segmentation import settings as kinds
from emjax.segmentation.agglomerate import agglomerate, joined
from emjax.segmentation.components import affinity_components, components
from emjax.segmentation.contour import contour_watershed
from emjax.segmentation.distance import distance_watershed
from emjax.segmentation.evidence import (
    Evidence,
    Graph,
    far,
    joined_by_affinity,
    near,
    near_and_far,
    touching,
)
from emjax.segmentation.multicut import multicut
from emjax.segmentation.mutex import mutex_watershed
from emjax.segmentation.prediction import Offset, Prediction, has_nearest
from emjax.segmentation.sizes import keep_sizes
from emjax.segmentation.supervoxels import BOUNDARIES, foreground_mask, make_fragments

DISTANCES = ("distance", "signed_distance")
# Table of the pairs that stitching joins.
STITCHES = "stitches"

Names: TypeAlias = Sequence[str]
Offsets: TypeAlias = Sequence[Offset | None]
# Step of a method -> what it was made with, and what came out; of one prediction.
Memo: TypeAlias = dict[str, tuple[Any, Any]]


def _nothing(_: Any) -> Evidence:
    return {}


def _alone(graph: Graph, settings: Any, memo: Memo | None) -> np.ndarray:
    """Every fragment is an object, joined with those of other cells that it is stitched to."""
    if STITCHES not in graph.tables:
        return graph.ids
    return joined(graph.ids, graph.tables[STITCHES].pairs)


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to make instances.

    Attributes:
        settings: their dataclass.
        needs: the channels that it needs, for messages.
        fits: whether channels of these names and offsets have them.
        fragments: (prediction, settings) -> `[z, y, x]` uint64.
        evidence: settings -> the tables that `partition` asks for.
        across: settings -> the tables that hold pairs of fragments of different cells alone.
        partition: (graph, settings, memo) -> `[k]` uint64, for each fragment the smallest id of its
            object, 0 = background; before sizes are seen to.
        stitched: whether fragments are objects that the overlap of cells joins.
        halo: whether fragments depend on what lies around a cell.
    """

    settings: type[kinds.SizeSettings]
    needs: str
    fits: Callable[[Names, Offsets], bool]
    fragments: Callable[[Prediction, Any], np.ndarray]
    evidence: Callable[[Any], Evidence] = _nothing
    across: Callable[[Any], Evidence] = _nothing
    partition: Callable[[Graph, Any, Memo | None], np.ndarray] = _alone
    stitched: bool = False
    halo: bool = True


def fragment_key(settings: Any) -> tuple[str, ...]:
    """Returns all that fragments depend on; methods that make them alike have the same."""
    kind = type(settings)
    # Agglomeration and multicut share theirs.
    source = kinds.FragmentSettings if issubclass(kind, kinds.FragmentSettings) else kind
    later = {field.name for field in dataclasses.fields(kinds.StitchSettings)} | {"long_range"}
    names = [f.name for f in dataclasses.fields(source) if f.name not in later]
    return (source.__name__, *(f"{name}={getattr(settings, name)}" for name in sorted(names)))


def once(memo: Memo | None, name: str, key: Any, make: Callable[[], Any]) -> Any:
    """Makes something unless the last thing of that name was made with the same key; without a memo, always."""
    if memo is None:
        return make()
    if name not in memo or memo[name][0] != key:
        memo[name] = (key, make())
    return memo[name][1]


def _affinity_evidence(settings: kinds.FragmentSettings) -> Evidence:
    return near_and_far() if settings.long_range else near()


def _agglomerate_evidence(settings: kinds.AgglomerateSettings) -> Evidence:
    gather = near_and_far if settings.long_range else near
    return gather(histogram=settings.linkage == "quantile")


def _agglomerate(
    graph: Graph, settings: kinds.AgglomerateSettings, memo: Memo | None
) -> np.ndarray:
    (name,) = _agglomerate_evidence(settings)
    tree = once(
        memo,
        "tree",
        (*fragment_key(settings), name, settings.linkage, settings.quantile),
        lambda: agglomerate(
            graph.tables[name],
            linkage=settings.linkage,
            quantile=settings.quantile,
            # With a memo to the end, so that other thresholds are cuts of the same tree.
            threshold=settings.threshold if memo is None else 0.0,
        ),
    )
    return tree.cut(graph.ids, settings.threshold)


def _multicut_evidence(settings: kinds.MulticutSettings) -> Evidence:
    return {**_affinity_evidence(settings), **(far() if settings.lifted else {})}


def _multicut(graph: Graph, settings: kinds.MulticutSettings, _: Memo | None) -> np.ndarray:
    (name,) = _affinity_evidence(settings)
    return multicut(
        graph.ids,
        graph.tables[name],
        beta=settings.beta,
        weighted=settings.weighted,
        lifted=graph.tables.get("far"),
    )


def _mutex(prediction: Prediction, settings: kinds.MutexSettings) -> np.ndarray:
    affinities = prediction.affinities()
    return mutex_watershed(
        affinities,
        strides=settings.strides,
        threshold=settings.threshold,
        mask=foreground_mask(prediction, affinities, settings.foreground_threshold),
    )


def _affinity_components(
    prediction: Prediction, settings: kinds.AffinityComponentsSettings
) -> np.ndarray:
    # Single voxels, too: only other cells may know what they are joined to.
    return affinity_components(prediction.affinities(), settings.threshold, single=True)


def _joined_by_affinity(
    graph: Graph, settings: kinds.AffinityComponentsSettings, _: Memo | None
) -> np.ndarray:
    (name,) = joined_by_affinity(settings.threshold)
    clusters = joined(graph.ids, graph.tables[name].pairs) if name in graph.tables else graph.ids
    return keep_sizes(clusters, graph.sizes, min_size=2)


def _components(prediction: Prediction, settings: kinds.ComponentsSettings) -> np.ndarray:
    mask = prediction.channel(settings.channel) > settings.threshold
    return components(mask, settings.connectivity)


def _touching(graph: Graph, settings: kinds.ComponentsSettings, _: Memo | None) -> np.ndarray:
    (name,) = touching(settings.connectivity)
    return joined(graph.ids, graph.tables[name].pairs) if name in graph.tables else graph.ids


def _contour(prediction: Prediction, settings: kinds.ContourSettings) -> np.ndarray:
    return contour_watershed(
        prediction.channel("foreground"),
        prediction.channel("contour"),
        seed_foreground=settings.seed_foreground,
        seed_contour=settings.seed_contour,
        threshold=settings.threshold,
        min_seed_size=settings.min_seed_size,
        connectivity=settings.connectivity,
    )


def _distance(prediction: Prediction, settings: kinds.DistanceSettings) -> np.ndarray:
    name = next(name for name in DISTANCES if name in prediction.names)
    return distance_watershed(
        prediction.channel("foreground"),
        prediction.channel(name),
        prediction.channel("contour") if "contour" in prediction.names else None,
        seed_foreground=settings.seed_foreground,
        seed_contour=settings.seed_contour,
        # A signed distance v is stored as (v + 1) / 2, and 0 is the edge.
        seed_distance=(settings.seed_distance + 1) / 2
        if name == "signed_distance"
        else settings.seed_distance,
        threshold=settings.threshold,
        min_seed_size=settings.min_seed_size,
        connectivity=settings.connectivity,
    )


def _has(*needed: str) -> Callable[[Names, Offsets], bool]:
    return lambda names, offsets: set(needed) <= set(names)


def _has_boundary(names: Names, offsets: Offsets) -> bool:
    return has_nearest(offsets) or not set(BOUNDARIES).isdisjoint(names)


_NEAREST = "affinities -1,0,0 and 0,-1,0 and 0,0,-1"
_BOUNDARY = f"{_NEAREST}, or {' or '.join(map(repr, BOUNDARIES))}"

METHODS: dict[str, Method] = {
    "distance": Method(
        kinds.DistanceSettings,
        "'foreground', and 'distance' or 'signed_distance'",
        lambda names, offsets: "foreground" in names and not set(DISTANCES).isdisjoint(names),
        _distance,
        stitched=True,
    ),
    "contour": Method(
        kinds.ContourSettings,
        "'foreground' and 'contour'",
        _has("foreground", "contour"),
        _contour,
        stitched=True,
    ),
    "agglomerate": Method(
        kinds.AgglomerateSettings,
        _BOUNDARY,
        _has_boundary,
        make_fragments,
        evidence=_agglomerate_evidence,
        partition=_agglomerate,
    ),
    "mutex": Method(
        kinds.MutexSettings,
        f"{_NEAREST} and long-range ones",
        lambda names, offsets: has_nearest(offsets) and sum(o is not None for o in offsets) > 3,
        _mutex,
        stitched=True,
    ),
    "multicut": Method(
        kinds.MulticutSettings,
        _BOUNDARY,
        _has_boundary,
        make_fragments,
        evidence=_multicut_evidence,
        partition=_multicut,
    ),
    "affinity_components": Method(
        kinds.AffinityComponentsSettings,
        _NEAREST,
        lambda names, offsets: has_nearest(offsets),
        _affinity_components,
        across=lambda settings: joined_by_affinity(settings.threshold),
        partition=_joined_by_affinity,
        halo=False,
    ),
    "components": Method(
        kinds.ComponentsSettings,
        "a channel to threshold, such as 'foreground'",
        lambda names, offsets: any(offset is None for offset in offsets),
        _components,
        across=lambda settings: touching(settings.connectivity),
        partition=_touching,
        halo=False,
    ),
}
