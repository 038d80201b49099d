"""From a prediction to instances, by the name of a method; the methods are the modules beside this one.

A method makes fragments (for some they are the objects already), gathers evidence of which belong together, and
partitions their graph. In a volume larger than memory the first is done cell by cell on a fixed lattice
(`emjax.segmentation.cells`), the second adds up exactly, and the third sees the graph alone, so that `decode` of
one cell and the blocks of a volume share everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emjax.errors import InputError
from emjax.registry import Registry
from emjax.segmentation.clusters import dense
from emjax.segmentation.evidence import Evidence, Graph, near
from emjax.segmentation.method import Memo, Method, Names, Offsets, once
from emjax.segmentation.prediction import Prediction, has_nearest, show_channels
from emjax.segmentation.settings import fragment_key, read_settings
from emjax.segmentation.sizes import limit_sizes, relabel

# Where no method is named, the first that suits the channels is preferred; see `choose_method`.
METHODS = Registry(
    "method",
    "emjax.methods",
    {
        "distance": "emjax.segmentation.methods.seeded_watershed:DISTANCE",
        "contour": "emjax.segmentation.methods.seeded_watershed:CONTOUR",
        "agglomerate": "emjax.segmentation.methods.agglomerate:METHOD",
        "mutex": "emjax.segmentation.methods.mutex:METHOD",
        "multicut": "emjax.segmentation.methods.multicut:METHOD",
        "affinity_components": "emjax.segmentation.methods.affinity_components:METHOD",
        "components": "emjax.segmentation.methods.components:METHOD",
    },
)

# Sections this much thicker than voxels are wide are cut into fragments one by one (our choice).
PLANE_RATIO = 2.0


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
        memo: for other settings of the same prediction: {} at first, then the same. The last result of each step is
            kept in it, so that a grid of thresholds makes fragments once.

    Returns:
        `[z, y, x]` uint64, ids 1..n in the order of their first voxels, 0 = background. The same
        input gives the same bytes.

    Raises:
        InputError: an unknown method or setting (names the nearest), a value out of range, or a
            prediction that lacks the channels (names the methods that fit it).
    """
    choose_method(method, prediction.names, prediction.offsets)
    values = read_method_settings(method, settings or {}, prediction.offsets)
    key = fragment_key(values)
    fragments, ids, sizes = once(
        memo, "fragments", key, lambda: _fragments(prediction, method, values)
    )
    tables = {
        name: once(memo, name, key, lambda table=table: table.gather(prediction, fragments, None))
        for name, table in evidence_of(method, values).items()
    }
    lookup = np.zeros(len(ids) + 1, np.uint64)
    lookup[1:] = solve(Graph(ids, sizes, tables), method, values, memo)
    return np.take(lookup, fragments.view(np.int64))


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
    clusters = METHODS.find(method).partition(graph, settings, memo)
    neighbours = [n for n, t in evidence_of(method, settings).items() if t.contacts]
    sized = limit_sizes(
        clusters,
        graph.sizes,
        min_size=settings.min_size,
        small=settings.small,
        max_size=settings.max_size,
        ids=graph.ids,
        statistics=graph.tables[neighbours[0]] if neighbours else None,
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
    values = read_settings(METHODS.find(method).settings, method, given)
    METHODS.find(method).check(values, offsets)
    return values


def evidence_of(method: str, settings: Any) -> Evidence:
    """Returns all tables that a method and its sizes ask for, but those of different cells alone."""
    tables = dict(METHODS.find(method).evidence(settings))
    if settings.min_size > 1 and settings.small == "neighbour" and not tables:
        tables |= near()
    return tables


def suit_to_voxels(
    method: str, settings: Mapping[str, Any], voxel_nm: Sequence[float] | None
) -> dict[str, Any]:
    """Returns the settings with `plane` chosen by the voxels, where the method has it and it is not given.

    Args:
        method: one of `METHODS`.
        settings: setting -> value.
        voxel_nm: (z, y, x) nm; None: unknown, the default stays.
    """
    fields = {field.name for field in dataclasses.fields(METHODS.find(method).settings)}
    if voxel_nm is None or "plane" not in fields or "plane" in settings:
        return dict(settings)
    return {**settings, "plane": voxel_nm[0] >= PLANE_RATIO * min(voxel_nm[1:])}


def choose_method(
    method: str, names: Names, offsets: Offsets, suggested: Sequence[str] = ()
) -> str:
    """Returns a method that channels suit: the given one, or for '' the preferred one.

    Preferred are 'agglomerate' where there are affinities, else the first of `METHODS` whose channels are there; of
    other packages' methods, and only where none of emjax's own suits, those that the targets of the prediction name
    come first.

    Args:
        method: one of `METHODS`, or ''.
        names: of the channels.
        offsets: of the channels.
        suggested: methods that the targets of the prediction name.

    Raises:
        InputError: an unknown method (names the nearest), or channels that do not suit it (names
            what there is, and the methods that do).
    """
    if method and METHODS.find(method).fits(names, offsets):
        return method
    if not method and has_nearest(offsets):
        return "agglomerate"
    own = METHODS.own_names
    others = [*suggested, *(name for name in METHODS if name not in own)]
    for name in () if method else (*own, *others):
        if name in METHODS and _suits_unnamed(METHODS.find(name), names, offsets):
            return name
    fit = [name for name in METHODS if METHODS.find(name).fits(names, offsets)]
    instead = f"methods that fit: {', '.join(fit)}" if fit else "no method fits them"
    missing = [name for name in suggested if name not in METHODS]
    if missing:
        instead += f"; its targets name method '{missing[0]}', which no installed package has"
    needs = (
        f"method '{method}' needs {METHODS.find(method).needs}" if method else "no method is given"
    )
    raise InputError(f"{needs}; the channels are {show_channels(names, offsets)}; {instead}")


def _suits_unnamed(method: Method, names: Names, offsets: Offsets) -> bool:
    return method.fits(names, offsets) and (
        method.by_default is None or method.by_default(names, offsets)
    )


def _fragments(
    prediction: Prediction, method: str, settings: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns fragments, numbered by their first voxels, their ids and sizes."""
    fragments, sizes = relabel(METHODS.find(method).fragments(prediction, settings))
    return fragments, np.arange(1, len(sizes) + 1, dtype=np.uint64), sizes
