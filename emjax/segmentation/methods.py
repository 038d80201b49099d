"""From a prediction to instances, by the name of a method.

A method makes fragments (for some they are the objects already), gathers evidence of which belong together, and
partitions their graph. In a volume larger than memory the first is done cell by cell on a fixed lattice
(`emjax.segmentation.cells`), the second adds up exactly, and the third sees the graph alone, so that `decode` of
one cell and the blocks of a volume share everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import fastremap
import numpy as np

from emjax.config import nearest
from emjax.errors import InputError
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
from emjax.segmentation.prediction import Offset, Prediction, has_nearest, show_channels
from emjax.segmentation.sizes import dense, keep_sizes, relabel
from emjax.segmentation.supervoxels import BOUNDARIES, foreground_mask, make_fragments

DISTANCES = ("distance", "signed_distance")
# Table of the pairs that stitching joins.
STITCHES = "stitches"

Names: TypeAlias = Sequence[str]
Offsets: TypeAlias = Sequence[Offset | None]
# Step of a method -> what it was made with, and what came out; of one prediction.
Memo: TypeAlias = dict[str, tuple[Any, Any]]

# Sections this much thicker than voxels are wide are cut into fragments one by one (our choice).
PLANE_RATIO = 2.0


def _nothing(_: Any) -> Evidence:
    return {}


def _alone(graph: Graph, settings: Any, memo: Memo) -> np.ndarray:
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
    partition: Callable[[Graph, Any, Memo], np.ndarray] = _alone
    stitched: bool = False
    halo: bool = True


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
    values = read_method_settings(method, settings or {}, prediction.offsets)
    memo = {} if memo is None else memo
    key = fragment_key(method, values)
    fragments, ids, sizes = _once(
        memo, "fragments", key, lambda: _fragments(prediction, method, values)
    )
    tables = {
        name: _once(memo, name, key, lambda gather=gather: gather(prediction, fragments, None))
        for name, gather in evidence_of(method, values).items()
    }
    lookup = np.zeros(len(ids) + 1, np.uint64)
    lookup[1:] = solve(Graph(ids, sizes, tables), method, values, memo)
    return lookup[fragments]


def solve(graph: Graph, method: str, settings: Any, memo: Memo | None = None) -> np.ndarray:
    """Decides which fragments are one object.

    Args:
        graph: all fragments, with the tables of `evidence_of`.
        method: one of `METHODS`.
        settings: of `read_method_settings`.
        memo: as for `decode`.

    Returns:
        `[k]` uint64: the object of each fragment, 1..n in the order of their first fragments, 0 = background.
    """
    if not len(graph.ids):
        return np.zeros(0, np.uint64)
    clusters = find(method).partition(graph, settings, {} if memo is None else memo)
    sized = keep_sizes(
        clusters,
        graph.sizes,
        min_size=settings.min_size,
        small=settings.small,
        max_size=settings.max_size,
        ids=graph.ids,
        statistics=_of_neighbours(graph),
    )
    return dense(sized)


def read_method_settings(method: str, given: Mapping[str, Any], offsets: Offsets) -> Any:
    """Returns the settings of a method.

    Args:
        method: one of `METHODS`.
        given: setting -> value or its text.
        offsets: of the channels that it will be used on.

    Raises:
        InputError: as `read_settings`, or if the channels lack what a setting asks for.
    """
    values = kinds.read_settings(find(method).settings, method, given)
    longer = [o for o in offsets if o is not None and sum(o) < -1]
    if getattr(values, "lifted", False) and not longer:
        raise InputError(
            f"{method}: lifted=true needs long-range affinities, and the prediction has none; leave lifted out"
        )
    return values


def evidence_of(method: str, settings: Any) -> Evidence:
    """Returns all tables that a method and its sizes ask for, but those of different cells alone."""
    tables = dict(find(method).evidence(settings))
    if settings.min_size > 1 and settings.small == "neighbour" and not tables:
        tables |= near()
    return tables


def fragment_key(method: str, settings: Any) -> tuple[str, ...]:
    """Returns all that fragments depend on; methods that make them alike have the same."""
    kind = find(method).settings
    # Agglomeration and multicut share theirs.
    source = kinds.FragmentSettings if issubclass(kind, kinds.FragmentSettings) else kind
    later = {field.name for field in dataclasses.fields(kinds.StitchSettings)} | {"long_range"}
    names = [f.name for f in dataclasses.fields(source) if f.name not in later]
    title = "watershed" if source is kinds.FragmentSettings else method
    return (title, *(f"{name}={getattr(settings, name)}" for name in sorted(names)))


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


def _fragments(
    prediction: Prediction, method: str, settings: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns fragments, numbered by their first voxels, their ids and sizes."""
    fragments = relabel(find(method).fragments(prediction, settings))
    ids, sizes = fastremap.unique(fragments, return_counts=True)
    return fragments, ids[ids > 0], sizes[ids > 0].astype(np.int64)


def _of_neighbours(graph: Graph) -> Any:
    """Returns a table that knows which fragments touch; None where no method asked for one."""
    names = (name for name in graph.tables if name.startswith(("near", "all")))
    return graph.tables.get(next(names, ""))


def _affinity_evidence(settings: kinds.FragmentSettings) -> Evidence:
    return near_and_far() if settings.long_range else near()


def _agglomerate_evidence(settings: kinds.AgglomerateSettings) -> Evidence:
    gather = near_and_far if settings.long_range else near
    return gather(histogram=settings.linkage == "quantile")


def _agglomerate(graph: Graph, settings: kinds.AgglomerateSettings, memo: Memo) -> np.ndarray:
    (name,) = _agglomerate_evidence(settings)
    tree = _once(
        memo,
        "tree",
        (*fragment_key("agglomerate", settings), name, settings.linkage, settings.quantile),
        # To the end, so that other thresholds are cuts of the same tree.
        lambda: agglomerate(
            graph.tables[name], linkage=settings.linkage, quantile=settings.quantile
        ),
    )
    return tree.cut(graph.ids, settings.threshold)


def _multicut_evidence(settings: kinds.MulticutSettings) -> Evidence:
    return {**_affinity_evidence(settings), **(far() if settings.lifted else {})}


def _multicut(graph: Graph, settings: kinds.MulticutSettings, _: Memo) -> np.ndarray:
    (name,) = _affinity_evidence(settings)
    return multicut(
        graph.ids,
        graph.tables[name],
        beta=settings.beta,
        weighted=settings.weighted,
        lifted=graph.tables.get("far"),
    )


def _once(memo: Memo, name: str, key: Any, make: Callable[[], Any]) -> Any:
    if name not in memo or memo[name][0] != key:
        memo[name] = (key, make())
    return memo[name][1]


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
    graph: Graph, settings: kinds.AffinityComponentsSettings, _: Memo
) -> np.ndarray:
    (name,) = joined_by_affinity(settings.threshold)
    clusters = joined(graph.ids, graph.tables[name].pairs) if name in graph.tables else graph.ids
    return keep_sizes(clusters, graph.sizes, min_size=2)


def _components(prediction: Prediction, settings: kinds.ComponentsSettings) -> np.ndarray:
    mask = prediction.channel(settings.channel) > settings.threshold
    return components(mask, settings.connectivity)


def _touching(graph: Graph, settings: kinds.ComponentsSettings, _: Memo) -> np.ndarray:
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

# Method -> setting -> values worth trying.
GRID: dict[str, dict[str, tuple]] = {
    name: kinds.grid(method.settings) for name, method in METHODS.items()
}
