"""Reads N5: arrays with axes x, y, z (and c), and groups of levels s0, s1, ... as Paintera and BigDataViewer write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.volumes.attributes import parent_url
from emjax.volumes.axes import Names, arrange, attribute_names
from emjax.volumes.chunk_sides import write_sides
from emjax.volumes.format import Format, Request
from emjax.volumes.place import Place, offset_place
from emjax.volumes.read.arrays import checked, only_level_0, open_store
from emjax.volumes.read.bounded_chunks import bounded_blosc
from emjax.volumes.read.chunks import Chunks, refuse_if_none
from emjax.volumes.read.folder_metadata import read_metadata, shown, volumes_inside
from emjax.volumes.read.opened import Opened
from emjax.volumes.voxel_sizes import n5_voxel_nm

_FILE = "attributes.json"


def open_n5(request: Request) -> Opened:
    """Opens an array, or one level of a group of levels.

    Raises:
        InputError: if there is no such level or array, or it cannot be read; if none of its chunks exist.
    """
    folder, own, group = _addressed(request)
    store = open_store(folder, "n5", request)
    sides = write_sides(store)
    grid = tuple(-(-n // side) for n, side in zip(store.shape, sides, strict=True))
    refuse_if_none(Chunks(folder, grid, lambda index: "/".join(map(str, index))), request, own)
    store = bounded_blosc(store, folder, request)
    store = arrange(_reversed(store), _names(own), shown(folder), request.time)
    return Opened(store, _voxel_nm(request, folder, own, group))


def where(request: Request) -> Place | None:
    """Reads the `offset` or `translation` of an array or of its group, x, y, z in nm; or its `transform`."""
    folder, own, group = _addressed(request)
    voxel_nm = request.voxel_nm(_voxel_nm(request, folder, own, group))
    for attributes in (own, group):
        place = offset_place(attributes, voxel_nm, _order(own), keys=("offset", "translation"))
        if place is not None:
            return place
    return None


def _addressed(request: Request) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
    """Returns the folder of the addressed array, its attributes, and the attributes of its group of levels."""
    base = request.base
    attributes = request.metadata[_FILE] or {}
    if "dimensions" in attributes:
        only_level_0(base, request.level)
        return base, attributes, {}
    folder = f"{base}s{request.level}/"
    inner = read_metadata(folder, request.context)[_FILE]
    if inner is None or "dimensions" not in inner:
        raise InputError(
            f"{shown(base)} is an N5 group without a level s{request.level}; name an array{volumes_inside(base)}"
        )
    return folder, inner, attributes


def _names(attributes: Mapping[str, Any]) -> Names:
    """Returns the names of the axes, last first: in the order of the array in memory."""
    rank = len(attributes["dimensions"])
    named = attribute_names(attributes, rank)
    return named[::-1]


def _order(attributes: Mapping[str, Any]) -> Names:
    """Returns the names of the axes in the order in which N5 counts them: x, y, z unless the array names others."""
    named = _names(attributes)[::-1]
    return named if set("xyz") <= set(named) else ("x", "y", "z")


def _reversed(store: ts.TensorStore) -> ts.TensorStore:
    return store[ts.d[tuple(reversed(range(store.rank)))].transpose[:]]


def _voxel_nm(
    request: Request, folder: str, own: Mapping[str, Any], group: Mapping[str, Any]
) -> Triple | None:
    """Reads the voxel size of an array, which may be a level of a pyramid.

    N5 Viewer and BigDataViewer store the size at full resolution, with the array or with its group, and the factors of
    a level: with the level as `downsamplingFactors`, or with the group, one for each level, as `scales` (N5 Viewer) or
    `downsamplingFactors` (BigDataViewer). OpenOrganelle stores the size of each level.
    """
    if not group:
        group = _parent(request, folder)
    factors = _factors(request, folder, own, group)
    size, whole = (n5_voxel_nm(attributes, _order(own)) for attributes in (own, group))
    if size is not None:
        # The size stored with a level that also has factors may be that of full resolution or that of the level itself.
        full = whole is None or np.allclose(size, whole)
        stated = own.get("pixelResolution") is not None and "transform" not in own
        return _times(size, factors) if stated and factors and full else size
    if whole is None or factors is None:
        return None
    return _times(whole, factors)


def _factors(
    request: Request, folder: str, own: Mapping[str, Any], group: Mapping[str, Any]
) -> Sequence[float] | None:
    """Returns the voxels of full resolution along x, y, z that one voxel spans; None if a coarse level does not say."""
    if "downsamplingFactors" in own:
        return own["downsamplingFactors"]
    above, name = parent_url(folder)
    level = int(name[1:]) if name[:1] == "s" and name[1:].isdecimal() else None
    if level is None:
        return None
    listed = group.get("scales") or group.get("downsamplingFactors")
    if not _of_levels(listed):
        # BigDataViewer stores the factors of all times with their view: setup0/timepoint0/s1.
        view = parent_url(above)[0] if above else ""
        listed = _group(request, view).get("downsamplingFactors")
    if listed and _of_levels(listed) and level < len(listed):
        return listed[level]
    return (1, 1, 1) if level == 0 else None


def _of_levels(listed: object) -> bool:
    return isinstance(listed, list) and bool(listed) and isinstance(listed[0], list)


def _parent(request: Request, folder: str) -> Mapping[str, Any]:
    """Returns the attributes of the group of which an array s0, s1, ... is a level."""
    above, name = parent_url(folder)
    return _group(request, above) if name[:1] == "s" and name[1:].isdecimal() else {}


def _group(request: Request, url: str) -> Mapping[str, Any]:
    """Returns the attributes of a group; empty where there is none, as above the root of a server."""
    return (read_metadata(url, request.context)[_FILE] or {}) if url else {}


def _times(voxel_nm: Triple, factors: Sequence[float]) -> Triple:
    return tuple(a * float(b) for a, b in zip(voxel_nm, list(factors)[2::-1], strict=True))


FORMAT = Format(
    title="N5, also groups of levels `s0`, `s1`, ...",
    given=".n5",
    examples=("em.n5:volumes/raw", "em.n5:em?level=2"),
    reads="its chunks",
    voxel_nm=(
        "`resolution` or `pixelResolution` (both x, y, z), `transform`; of the group, times `downsamplingFactors` or "
        "`scales`, where the level has none"
    ),
    place="`offset` or `translation` (x, y, z, nm), `transform`",
    open=checked(open_n5),
    where=where,
    claims=lambda request: request.metadata[_FILE] is not None,
    remote=True,
    datasets=True,
    levels=True,
    times=True,
    missing="fill",
    absent="a chunk that was never written",
)
