"""From a prediction to instances, by the name of a method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from emjax.config import nearest
from emjax.errors import InputError
from emjax.segmentation import settings as kinds
from emjax.segmentation.agglomerate import agglomerate
from emjax.segmentation.components import affinity_components, components
from emjax.segmentation.contour import contour_watershed
from emjax.segmentation.distance import distance_watershed
from emjax.segmentation.fragments import affinity_boundary, watershed
from emjax.segmentation.multicut import multicut
from emjax.segmentation.mutex import mutex_watershed
from emjax.segmentation.prediction import (
    Affinities,
    Offset,
    Prediction,
    affinities_of_boundary,
    has_nearest,
    partners,
    show_channels,
)
from emjax.segmentation.region_graph import EdgeStatistics, edge_statistics
from emjax.segmentation.sizes import relabel, remove_large, remove_small

# Channels that fragments can be made of where there are no affinities, the first that is there.
BOUNDARIES = ("membrane", "contour")

Names: TypeAlias = Sequence[str]
Offsets: TypeAlias = Sequence[Offset | None]


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to make instances.

    Attributes:
        settings: their dataclass.
        run: (prediction, settings) -> `[z, y, x]` uint64, before sizes and ids are seen to.
        needs: the channels that it needs, for messages.
        fits: whether channels of these names and offsets have them.
    """

    settings: type[kinds.SizeSettings]
    run: Callable[[Prediction, Any], np.ndarray]
    needs: str
    fits: Callable[[Names, Offsets], bool]


def decode(
    prediction: Prediction, method: str, settings: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Segments a prediction into instances.

    Args:
        prediction: of a volume that fits in memory.
        method: one of `METHODS`.
        settings: of the method; what is not given has its default.

    Returns:
        `[z, y, x]` uint64, ids 1..n in the order of their first voxels, 0 = background. The same
        input gives the same bytes.

    Raises:
        InputError: an unknown method or setting (names the nearest), a value out of range, or a
            prediction that lacks the channels (names the methods that fit it).
    """
    choose_method(method, prediction.names, prediction.offsets)
    chosen = find(method)
    values = kinds.read_settings(chosen.settings, method, settings or {})
    segmentation = chosen.run(prediction, values)
    evidence = prediction.affinities() if prediction.has_affinities else None
    segmentation = remove_small(segmentation, values.min_size, values.small, evidence)
    return relabel(remove_large(segmentation, values.max_size))


def find(method: str) -> Method:
    """Returns a method by its name; raises InputError that names the nearest."""
    if method not in METHODS:
        raise InputError(f"unknown method '{method}'{nearest(method, METHODS)}")
    return METHODS[method]


def choose_method(method: str, names: Names, offsets: Offsets) -> str:
    """Returns a method that channels suit: the given one, or for '' the preferred one.

    Preferred are 'agglomerate' where there are affinities, else 'distance', 'contour', 'agglomerate'
    of a membrane, 'components': the first whose channels are there.

    Args:
        method: one of `METHODS`, or ''.
        names: of the channels.
        offsets: of the channels.

    Raises:
        InputError: an unknown method (names the nearest), or channels that do not suit it (names
            what there is, and the methods that do).
    """
    fit = [name for name, known in METHODS.items() if known.fits(names, offsets)]
    if not method and fit:
        return "agglomerate" if has_nearest(offsets) else fit[0]
    if method and find(method).fits(names, offsets):
        return method
    instead = f"methods that fit: {', '.join(fit)}" if fit else "no method fits them"
    needs = f"method '{method}' needs {METHODS[method].needs}" if method else "no method is given"
    raise InputError(f"{needs}; the channels are {show_channels(names, offsets)}; {instead}")


def make_fragments(
    prediction: Prediction, settings: kinds.FragmentSettings
) -> tuple[np.ndarray, Affinities]:
    """Returns fragments `[z, y, x]` uint64, and the affinities that say which belong together."""
    if prediction.has_affinities:
        affinities = prediction.affinities()
        boundary = affinity_boundary(affinities, plane=settings.plane, combine=settings.boundary)
    else:
        name = next(name for name in BOUNDARIES if name in prediction.names)
        boundary = prediction.channel(name)
        affinities = affinities_of_boundary(boundary)
    fragments = watershed(
        boundary,
        threshold=settings.boundary_threshold,
        plane=settings.plane,
        sigma_seeds=settings.sigma_seeds,
        sigma_weights=settings.sigma_weights,
        boundary_weight=settings.boundary_weight,
        min_size=settings.min_fragment,
        mask=foreground_mask(prediction, affinities, settings.foreground_threshold),
        affinities=affinities if settings.flood == "affinities" else None,
    )
    return fragments, affinities


def foreground_mask(
    prediction: Prediction, affinities: Affinities, threshold: float
) -> np.ndarray | None:
    """Returns which voxels belong to any object, `[z, y, x]` bool, or None: all of them.

    By the foreground channel, or without one by the highest nearest affinity to any neighbour.
    """
    if not threshold:
        return None
    if "foreground" in prediction.names:
        return prediction.channel("foreground") >= threshold
    best = np.zeros(prediction.shape, np.float32)
    chosen = affinities.nearest()
    for index, offset in enumerate(chosen.offsets):
        values = chosen[index]
        here, there = partners(offset, values.shape)
        np.maximum(best[here], values[here], out=best[here])
        np.maximum(best[there], values[here], out=best[there])
    return best >= threshold


def _agglomerate(prediction: Prediction, settings: kinds.AgglomerateSettings) -> np.ndarray:
    fragments, affinities = make_fragments(prediction, settings)
    statistics = _evidence(
        fragments, affinities, settings, histogram=settings.linkage == "quantile"
    )
    tree = agglomerate(
        statistics,
        linkage=settings.linkage,
        quantile=settings.quantile,
        threshold=settings.threshold,
    )
    ids = np.arange(int(fragments.max()) + 1, dtype=np.uint64)
    return tree.cut(ids, settings.threshold)[fragments]


def _multicut(prediction: Prediction, settings: kinds.MulticutSettings) -> np.ndarray:
    fragments, affinities = make_fragments(prediction, settings)
    lifted = None
    if settings.lifted:
        far = affinities.long_range()
        if not len(far):
            raise InputError(
                "multicut: lifted=true needs long-range affinities; the prediction has "
                f"{prediction.summary()}; leave lifted out"
            )
        lifted = edge_statistics(fragments, far)
    ids = np.arange(int(fragments.max()) + 1, dtype=np.uint64)
    clusters = multicut(
        ids,
        _evidence(fragments, affinities, settings),
        beta=settings.beta,
        weighted=settings.weighted,
        lifted=lifted,
    )
    return clusters[fragments]


def _evidence(
    fragments: np.ndarray,
    affinities: Affinities,
    settings: kinds.FragmentSettings,
    histogram: bool = False,
) -> EdgeStatistics:
    chosen = affinities if settings.long_range else affinities.nearest()
    return edge_statistics(fragments, chosen, histogram=histogram)


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
    return affinity_components(prediction.affinities(), settings.threshold)


def _components(prediction: Prediction, settings: kinds.ComponentsSettings) -> np.ndarray:
    mask = prediction.channel(settings.channel) > settings.threshold
    return components(mask, settings.connectivity)


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
    return distance_watershed(
        prediction.channel("foreground"),
        prediction.channel("distance"),
        prediction.channel("contour") if "contour" in prediction.names else None,
        seed_foreground=settings.seed_foreground,
        seed_contour=settings.seed_contour,
        seed_distance=settings.seed_distance,
        threshold=settings.threshold,
        min_seed_size=settings.min_seed_size,
        connectivity=settings.connectivity,
    )


def _has(*needed: str) -> Callable[[Names, Offsets], bool]:
    return lambda names, offsets: set(needed) <= set(names)


def _has_boundary(names: Names, offsets: Offsets) -> bool:
    return has_nearest(offsets) or not set(BOUNDARIES).isdisjoint(names)


_NEAREST = "affinities -1,0,0 and 0,-1,0 and 0,0,-1"

METHODS: dict[str, Method] = {
    "distance": Method(
        kinds.DistanceSettings,
        _distance,
        "'foreground' and 'distance'",
        _has("foreground", "distance"),
    ),
    "contour": Method(
        kinds.ContourSettings,
        _contour,
        "'foreground' and 'contour'",
        _has("foreground", "contour"),
    ),
    "agglomerate": Method(
        kinds.AgglomerateSettings,
        _agglomerate,
        f"{_NEAREST}, or {' or '.join(map(repr, BOUNDARIES))}",
        _has_boundary,
    ),
    "mutex": Method(
        kinds.MutexSettings,
        _mutex,
        f"{_NEAREST} and long-range ones",
        lambda names, offsets: has_nearest(offsets) and sum(o is not None for o in offsets) > 3,
    ),
    "multicut": Method(
        kinds.MulticutSettings,
        _multicut,
        f"{_NEAREST}, or {' or '.join(map(repr, BOUNDARIES))}",
        _has_boundary,
    ),
    "affinity_components": Method(
        kinds.AffinityComponentsSettings,
        _affinity_components,
        _NEAREST,
        lambda names, offsets: has_nearest(offsets),
    ),
    "components": Method(
        kinds.ComponentsSettings,
        _components,
        "a channel to threshold, such as 'foreground'",
        lambda names, offsets: any(offset is None for offset in offsets),
    ),
}

# Method -> setting -> values worth trying.
GRID: dict[str, dict[str, tuple]] = {
    name: kinds.grid(method.settings) for name, method in METHODS.items()
}
