"""Array formats that TensorStore reads itself: zarr 2 and 3, OME-Zarr, N5 and Neuroglancer precomputed.

Local or remote (`gs://`, `s3://`, `http://`): everything goes through a key-value store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.attributes import first_sentence
from emjax.volumes.read import folder_metadata
from emjax.volumes.read.folder_metadata import read_metadata, shown, volumes_inside
from emjax.volumes.read.missing import FILL
from emjax.volumes.read.opened import Opened
from emjax.volumes.voxel_sizes import attribute_voxel_nm, n5_voxel_nm, ome_voxel_nm, unit_voxel_nm


class How(NamedTuple):
    """How to open an array.

    Attributes:
        level: of a pyramid, 0 is full resolution; must be 0 for a plain array.
        context: with the cache.
        missing: `fill` takes chunks that are absent as the format does, as its fill value, 0 with few exceptions;
            `error` refuses them when they are read.
    """

    level: int
    context: ts.Context
    missing: str


def open_array(url: str, dataset: str, how: How) -> Opened:
    """Opens an array, or one level of a pyramid.

    Args:
        url: of the folder, local as `file://`.
        dataset: path inside; '' for the folder itself.
        how: to open it.

    Raises:
        InputError: if there is no array, or no such level.
    """
    url = url.rstrip("/") + "/"
    base = url + (dataset.strip("/") + "/" if dataset else "")
    files = read_metadata(base, how.context)
    try:
        opened = _open_what_is_there(base, files, how)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{shown(base)} has metadata that break the rules of its format: {type(error).__name__} {error}"
        ) from error
    if opened is None:
        raise InputError(
            f"{shown(base)} holds no zarr, N5 or precomputed array{volumes_inside(url)}"
        )
    return opened


def _open_what_is_there(base: str, files: dict[str, Any], how: How) -> Opened | None:
    if files["zarr.json"] is not None:
        attributes = files["zarr.json"].get("attributes", {})
        if files["zarr.json"].get("node_type") == "array":
            return _plain(base, "zarr3", attributes, how)
        return _pyramid(base, "zarr3", attributes.get("ome", attributes), how)
    if files[".zarray"] is not None:
        return _plain(base, "zarr", files[".zattrs"] or {}, how)
    if files[".zattrs"] is not None and "multiscales" in files[".zattrs"]:
        return _pyramid(base, "zarr", files[".zattrs"], how)
    if files["attributes.json"] is not None:
        return _n5(base, files["attributes.json"], how)
    if files["info"] is not None and "scales" in files["info"]:
        return _precomputed(base, files["info"], how)
    return None


def _open(base: str, driver: str, how: How, **spec: Any) -> ts.TensorStore:
    try:
        # "open" asks for what changed since an earlier opening, so that an overwritten volume is not served from the
        # cache; asking before every read would double its cost, and on a server cost a round trip.
        return ts.open(
            {
                "driver": driver,
                "kvstore": base,
                "recheck_cached_data": "open",
                "fill_missing_data_reads": how.missing == FILL,
                **spec,
            },
            open=True,
            read=True,
            context=how.context,
        ).result(timeout=folder_metadata.PATIENCE)
    except TimeoutError as error:
        raise InputError(
            f"{shown(base)} did not answer in {folder_metadata.PATIENCE:.0f} s"
        ) from error
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{shown(base)} cannot be opened: {first_sentence(error)}") from error


def _plain(base: str, driver: str, attributes: dict, how: How) -> Opened:
    _only_level_0(base, how)
    store = _last_axes(base, _open(base, driver, how))
    order = _spatial_order(store.domain.labels)
    # An array of named axes x, y, z carries its voxel size in that order.
    voxel_nm = attribute_voxel_nm(attributes)
    if voxel_nm and order:
        voxel_nm = tuple(voxel_nm[a - store.rank + 3] for a in order[-3:])
    store = store[ts.d[order].transpose[:]] if order else store
    return Opened(store, voxel_nm or unit_voxel_nm(store))


def _pyramid(base: str, driver: str, attributes: dict, how: How) -> Opened:
    """Opens a level of an OME-Zarr image, version 0.4 or 0.5."""
    scales = attributes.get("multiscales")
    if not scales:
        raise InputError(f"{shown(base)} is a group, not an array; name one{volumes_inside(base)}")
    levels = scales[0]["datasets"]
    _check_level(base, how.level, len(levels))
    level = levels[how.level]
    store = _open(base + level["path"].strip("/") + "/", driver, how)
    axes = [a if isinstance(a, dict) else {"name": a} for a in scales[0].get("axes", [])]
    # Version 0.3 and older have none: they are t, c, z, y, x.
    axes = axes or [{"name": name} for name in "tczyx"[-store.rank :]]
    names = [a["name"] for a in axes]
    if not set("zyx") <= set(names) or len(names) != store.rank:
        raise InputError(f"{shown(base)} has axes {names}; a volume needs z, y and x")
    scale = [1.0] * store.rank
    for owner in (scales[0], level):
        for transformation in owner.get("coordinateTransformations", []):
            if transformation.get("type") == "scale":
                scale = [a * b for a, b in zip(scale, transformation["scale"], strict=True)]
    order = _spatial_order(names)
    store = store[ts.d[order].transpose[:]] if order else store
    return Opened(_last_axes(base, store), ome_voxel_nm(axes, scale))


def _spatial_order(names: Sequence[str]) -> list[int] | None:
    """Returns the axes with z, y, x last; None where they are so already, or are not named."""
    if not set("zyx") <= set(names):
        return None
    order = [i for i, name in enumerate(names) if name not in "zyx"]
    order += [list(names).index(name) for name in "zyx"]
    return None if order == sorted(order) else order


def _n5(base: str, attributes: dict, how: How) -> Opened:
    """Opens an N5 array, whose axes are x, y, z (and c), or a level `s0`, `s1`, ... of a group of them."""
    if "dimensions" not in attributes:
        return _n5_level(base, attributes, how)
    _only_level_0(base, how)
    store = _open(base, "n5", how)
    store = store[ts.d[tuple(reversed(range(store.rank)))].transpose[:]]
    return Opened(_last_axes(base, store), n5_voxel_nm(attributes))


def _n5_level(base: str, attributes: dict, how: How) -> Opened:
    """Opens a level of an N5 group as Paintera and OpenOrganelle write it."""
    folder = f"{base}s{how.level}/"
    inner = read_metadata(folder, how.context)["attributes.json"]
    if inner is None or "dimensions" not in inner:
        raise InputError(
            f"{shown(base)} is an N5 group without a level s{how.level}; name an array{volumes_inside(base)}"
        )
    opened = _n5(folder, inner, how._replace(level=0))
    whole = n5_voxel_nm(attributes)
    if opened.voxel_nm is not None or whole is None:
        return opened
    factors = inner.get("downsamplingFactors", (1, 1, 1))
    voxel_nm = tuple(a * float(b) for a, b in zip(whole, reversed(factors), strict=True))
    return opened._replace(voxel_nm=voxel_nm)


def _precomputed(base: str, info: dict, how: How) -> Opened:
    """Opens a scale of a Neuroglancer volume, whose axes are x, y, z, channel."""
    scales = info["scales"]
    _check_level(base, how.level, len(scales))
    store = _open(base, "neuroglancer_precomputed", how, scale_index=how.level)
    store = store[ts.d[3, 2, 1, 0].transpose[:]]
    voxel_nm = tuple(float(v) for v in reversed(scales[how.level]["resolution"]))
    return Opened(_last_axes(base, store), voxel_nm)


def _last_axes(base: str, store: ts.TensorStore) -> ts.TensorStore:
    """Drops leading axes of length 1 (time, one channel)."""
    while store.rank > 3 and store.shape[0] == 1:
        store = store[store.domain.inclusive_min[0]]
    if store.rank > 4:
        raise InputError(
            f"{shown(base)} has axes of {tuple(store.shape)}; a volume needs z, y, x or c, z, y, x"
        )
    return store


def _only_level_0(base: str, how: How) -> None:
    if how.level:
        raise InputError(
            f"{shown(base)} is a single array, no pyramid; leave out level={how.level}"
        )


def _check_level(base: str, level: int, count: int) -> None:
    if level >= count:
        raise InputError(f"{shown(base)} has levels 0 to {count - 1}, not {level}")
