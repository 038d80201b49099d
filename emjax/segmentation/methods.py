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
DISTANCES = ("distance", "signed_distance")

Names: TypeAlias = Sequence[str]
Offsets: TypeAlias = Sequence[Offset | None]
# Step of a method -> what it was made with, and what came out; of one prediction.
Memo: TypeAlias = dict[str, tuple[Any, Any]]

# Sections this much thicker than voxels are wide are cut into fragments one by one (our choice).
PLANE_RATIO = 2.0


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to make instances.

    Attributes:
        settings: their dataclass.
        run: (prediction, settings, memo) -> `[z, y, x]` uint64, before sizes and ids are seen to.
        needs: the channels that it needs, for messages.
        fits: whether channels of these names and offsets have them.
    """

    settings: type[kinds.SizeSettings]
    run: Callable[[Prediction, Any, Memo], np.ndarray]
    needs: str
    fits: Callable[[Names, Offsets], bool]


def decode(
    prediction: Prediction,
    method: str,
    settings: Mapping[str, Any] | None = None,
    memo: Memo | None = None,
) -> np.ndarray:
    """Segments a prediction into instances.

    Args:
        prediction: of a volume that fits in memory.
        method: one of `METHODS`.
        settings: of the method; what is not given has its default.
        memo: {} at first, the same with other settings of the same prediction: the last result of
            each step is kept in it, so that a grid of thresholds makes fragments once.

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
    segmentation = chosen.run(prediction, values, {} if memo is None else memo)
    evidence = prediction.affinities() if prediction.has_affinities else None
    segmentation = remove_small(segmentation, values.min_size, values.small, evidence)
    return relabel(remove_large(segmentation, values.max_size))


def suit_to_voxels(
    method: str, settings: Mapping[str, Any], voxel_nm: Sequence[float] | None
) -> dict[str, Any]:
    """Returns the settings with `plane` chosen by the voxels, where the method has it and it is not given.

    Args:
        method: one of `METHODS`.
        settings: setting -> value.
        voxel_nm: (z, y, x) nm; None: unknown, the default stays.
    """
    fields = {field.name for field in dataclasses.fields(find(method).settings)}
    if voxel_nm is None or "plane" not in fields or "plane" in settings:
        return dict(settings)
    return {**settings, "plane": voxel_nm[0] >= PLANE_RATIO * min(voxel_nm[1:])}


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


def _agglomerate(
    prediction: Prediction, settings: kinds.AgglomerateSettings, memo: Memo
) -> np.ndarray:
    fragments, _ = _fragments(prediction, settings, memo)
    tree = _once(
        memo,
        "tree",
        (_evidence_key(settings), settings.linkage, settings.quantile),
        # To the end, so that other thresholds are cuts of the same tree.
        lambda: agglomerate(
            _evidence(prediction, settings, memo, histogram=settings.linkage == "quantile"),
            linkage=settings.linkage,
            quantile=settings.quantile,
        ),
    )
    ids = np.arange(int(fragments.max()) + 1, dtype=np.uint64)
    return tree.cut(ids, settings.threshold)[fragments]


def _multicut(prediction: Prediction, settings: kinds.MulticutSettings, memo: Memo) -> np.ndarray:
    fragments, affinities = _fragments(prediction, settings, memo)
    lifted = None
    if settings.lifted:
        far = affinities.long_range()
        if not len(far):
            raise InputError(
                "multicut: lifted=true needs long-range affinities; the prediction has "
                f"{prediction.summary()}; leave lifted out"
            )
        lifted = _once(
            memo, "lifted", _fragment_key(settings), lambda: edge_statistics(fragments, far)
        )
    ids = np.arange(int(fragments.max()) + 1, dtype=np.uint64)
    clusters = multicut(
        ids,
        _evidence(prediction, settings, memo),
        beta=settings.beta,
        weighted=settings.weighted,
        lifted=lifted,
    )
    return clusters[fragments]


def _fragments(
    prediction: Prediction, settings: kinds.FragmentSettings, memo: Memo
) -> tuple[np.ndarray, Affinities]:
    key = _fragment_key(settings)
    return _once(memo, "fragments", key, lambda: make_fragments(prediction, settings))


def _evidence(
    prediction: Prediction,
    settings: kinds.FragmentSettings,
    memo: Memo,
    histogram: bool = False,
) -> EdgeStatistics:
    fragments, affinities = _fragments(prediction, settings, memo)
    chosen = affinities if settings.long_range else affinities.nearest()
    return _once(
        memo,
        "evidence",
        (_evidence_key(settings), histogram),
        lambda: edge_statistics(fragments, chosen, histogram=histogram),
    )


def _fragment_key(settings: kinds.FragmentSettings) -> tuple:
    """All settings that fragments depend on."""
    sizes = {field.name for field in dataclasses.fields(kinds.SizeSettings)}
    names = {field.name for field in dataclasses.fields(kinds.FragmentSettings)} - sizes
    return tuple(getattr(settings, name) for name in sorted(names - {"long_range"}))


def _evidence_key(settings: kinds.FragmentSettings) -> tuple:
    return (*_fragment_key(settings), settings.long_range)


def _once(memo: Memo, name: str, key: Any, make: Callable[[], Any]) -> Any:
    if name not in memo or memo[name][0] != key:
        memo[name] = (key, make())
    return memo[name][1]


def _mutex(prediction: Prediction, settings: kinds.MutexSettings, _: Memo) -> np.ndarray:
    affinities = prediction.affinities()
    return mutex_watershed(
        affinities,
        strides=settings.strides,
        threshold=settings.threshold,
        mask=foreground_mask(prediction, affinities, settings.foreground_threshold),
    )


def _affinity_components(
    prediction: Prediction, settings: kinds.AffinityComponentsSettings, _: Memo
) -> np.ndarray:
    return affinity_components(prediction.affinities(), settings.threshold)


def _components(prediction: Prediction, settings: kinds.ComponentsSettings, _: Memo) -> np.ndarray:
    mask = prediction.channel(settings.channel) > settings.threshold
    return components(mask, settings.connectivity)


def _contour(prediction: Prediction, settings: kinds.ContourSettings, _: Memo) -> np.ndarray:
    return contour_watershed(
        prediction.channel("foreground"),
        prediction.channel("contour"),
        seed_foreground=settings.seed_foreground,
        seed_contour=settings.seed_contour,
        threshold=settings.threshold,
        min_seed_size=settings.min_seed_size,
        connectivity=settings.connectivity,
    )


def _distance(prediction: Prediction, settings: kinds.DistanceSettings, _: Memo) -> np.ndarray:
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

METHODS: dict[str, Method] = {
    "distance": Method(
        kinds.DistanceSettings,
        _distance,
        "'foreground', and 'distance' or 'signed_distance'",
        lambda names, offsets: "foreground" in names and not set(DISTANCES).isdisjoint(names),
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
