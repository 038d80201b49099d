"""Makes instances from a prediction with a named method; each module beside this one is a method.

A method makes fragments (for some methods these are already the objects), gathers evidence of which belong together,
and partitions their graph. In a volume larger than memory, the first step works cell by cell on a fixed lattice
(`emjax.segmentation.cells`), the second adds up exactly over cells, and the third sees the graph alone. So `decode` of
one cell and the blocks of a volume share all code.
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

# Where no method is named, the first one that suits the channels is preferred; see `choose_method`.
METHODS = Registry(
    "method",
    "emjax.methods",
    {
        "distance": "emjax.segmentation.methods.seeded_watershed:DISTANCE",
        "contour": "emjax.segmentation.methods.seeded_watershed:CONTOUR",
        "flow": "emjax.segmentation.methods.flow:METHOD",
        "energy": "emjax.segmentation.methods.energy:METHOD",
        "polarity": "emjax.segmentation.methods.polarity:METHOD",
        "agglomerate": "emjax.segmentation.methods.agglomerate:METHOD",
        "mutex": "emjax.segmentation.methods.mutex:METHOD",
        "multicut": "emjax.segmentation.methods.multicut:METHOD",
        "affinity_components": "emjax.segmentation.methods.affinity_components:METHOD",
        "components": "emjax.segmentation.methods.components:METHOD",
        "classes": "emjax.segmentation.methods.classes:METHOD",
    },
)

# Where sections are this many times thicker than voxels are wide, each is cut into fragments by itself (our choice).
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
        method: a name in `METHODS`.
        settings: of the method; settings that are not given have their default.
        memo: {} at first, then the same dict for other settings of the same prediction. It keeps the last result of
            each step, so that a grid of thresholds makes fragments only once.

    Returns:
        `[z, y, x]` uint64, ids 1..n in the order of their first voxels, 0 = background; of a method of classes, the ids
        of these, and of one with `parts`, those of the parts. The same input gives the same bytes.

    Raises:
        InputError: if a method or setting is unknown (names the nearest), a value is out of range, or the prediction
            lacks the channels (names the methods that suit it).
    """
    choose_method(method, prediction.names, prediction.offsets)
    values = read_method_settings(method, settings or {}, prediction.offsets)
    if METHODS.find(method).classes:
        return METHODS.find(method).fragments(prediction, values)
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
    objects = np.take(lookup, fragments.view(np.int64))
    parts = METHODS.find(method).parts
    return parts(prediction, objects, values) if parts else objects


def solve(graph: Graph, method: str, settings: Any, memo: Memo | None = None) -> np.ndarray:
    """Decides which fragments belong to one object.

    Args:
        graph: all fragments, with the tables of `evidence_of`.
        method: a name in `METHODS`.
        settings: made by `read_method_settings`.
        memo: as for `decode`.

    Returns:
        `[k]` uint64, the object of each fragment, 1..n in the order of their first fragments, 0 = background.
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
        method: a name in `METHODS`.
        given: setting -> value, or its text.
        offsets: of the channels on which the method will be used.

    Raises:
        InputError: as `read_settings`, or if the channels lack what a setting asks for.
    """
    values = read_settings(METHODS.find(method).settings, method, given)
    METHODS.find(method).check(values, offsets)
    return values


def evidence_of(method: str, settings: Any) -> Evidence:
    """Returns all tables that a method and its size limits need, except those of pairs across cells."""
    tables = dict(METHODS.find(method).evidence(settings))
    if settings.min_size > 1 and settings.small == "neighbour" and not tables:
        tables |= near()
    return tables


def suit_to_voxels(
    method: str, settings: Mapping[str, Any], voxel_nm: Sequence[float] | None
) -> dict[str, Any]:
    """Returns the settings, with `plane` chosen by the voxel size if the method has this setting and it is not given.

    Args:
        method: a name in `METHODS`.
        settings: setting -> value.
        voxel_nm: (z, y, x) nm; None: unknown, so that the default stays.
    """
    fields = {field.name for field in dataclasses.fields(METHODS.find(method).settings)}
    if voxel_nm is None or "plane" not in fields or "plane" in settings:
        return dict(settings)
    return {**settings, "plane": voxel_nm[0] >= PLANE_RATIO * min(voxel_nm[1:])}


def choose_method(
    method: str, names: Names, offsets: Offsets, suggested: Sequence[str] = ()
) -> str:
    """Returns a method that suits the channels: the named one, or for '' the preferred one.

    'agglomerate' is preferred if there are affinities, else the first of `METHODS` that suits the channels. Methods of
    other packages are considered only if none of emjax's own suits; of these, the methods that the prediction's targets
    name come first.

    Args:
        method: a name in `METHODS`, or ''.
        names: of the channels.
        offsets: of the channels.
        suggested: methods that the targets of the prediction name.

    Raises:
        InputError: if the method is unknown (names the nearest), or the channels do not suit it (lists the channels,
            and the methods that suit them).
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
    """Returns the fragments, renumbered by their first voxels, with their ids and sizes."""
    fragments, sizes = relabel(METHODS.find(method).fragments(prediction, settings))
    return fragments, np.arange(1, len(sizes) + 1, dtype=np.uint64), sizes
