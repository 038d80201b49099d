"""Array formats that TensorStore reads itself: zarr 2 and 3, OME-Zarr, N5 and Neuroglancer precomputed.

Local or remote (`gs://`, `s3://`, `http://`): everything goes through a key-value store.
"""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.opened import Opened, unit_nm

Triple = tuple[float, float, float]
# Seconds; TensorStore itself goes on trying a server that does not answer.
_PATIENCE = 60.0
# What says that a folder is an array or a group, in the order in which they are looked for.
METADATA_FILES = ("zarr.json", ".zarray", ".zattrs", ".zgroup", "attributes.json", "info")


def open_array(url: str, dataset: str, level: int, context: ts.Context) -> Opened:
    """Opens an array, or one level of a pyramid.

    Args:
        url: of the folder, local as `file://`.
        dataset: path inside; '' for the folder itself.
        level: of a pyramid, 0 is full resolution; must be 0 for a plain array.
        context: with the cache.

    Raises:
        InputError: if there is no array, or no such level.
    """
    url = url.rstrip("/") + "/"
    base = url + (dataset.strip("/") + "/" if dataset else "")
    files = _read_metadata(base)
    if files["zarr.json"] is not None:
        attributes = files["zarr.json"].get("attributes", {})
        if files["zarr.json"].get("node_type") == "array":
            return _plain(base, "zarr3", attributes, level, context)
        return _pyramid(base, "zarr3", attributes.get("ome", attributes), level, context)
    if files[".zarray"] is not None:
        return _plain(base, "zarr", files[".zattrs"] or {}, level, context)
    if files[".zattrs"] is not None and "multiscales" in files[".zattrs"]:
        return _pyramid(base, "zarr", files[".zattrs"], level, context)
    if files["attributes.json"] is not None:
        return _n5(base, files["attributes.json"], level, context)
    if files["info"] is not None and "scales" in files["info"]:
        return _precomputed(base, files["info"], level, context)
    raise InputError(f"{base.rstrip('/')} holds no zarr, N5 or precomputed array{_inside(url)}")


def _read_metadata(base: str) -> dict[str, dict[str, Any] | None]:
    """Reads all metadata files of a folder at once; None for those that are not there."""
    try:
        folder = ts.KvStore.open(base).result(timeout=_PATIENCE)
        reads = {name: folder.read(name) for name in METADATA_FILES}
        found = {name: read.result(timeout=_PATIENCE) for name, read in reads.items()}
    except TimeoutError as error:
        raise InputError(f"{base} did not answer in {_PATIENCE:.0f} s") from error
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{base} cannot be read: {_short(error)}") from error
    return {name: _json(answer) for name, answer in found.items()}


def _json(answer: ts.KvStore.ReadResult) -> dict[str, Any] | None:
    if answer.state != "value":
        return None
    try:
        value = json.loads(answer.value)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _open(base: str, driver: str, context: ts.Context, **spec: Any) -> ts.TensorStore:
    try:
        # "open" asks for what changed since an earlier opening, so that an overwritten volume is not served from the
        # cache; asking before every read would double its cost, and on a server cost a round trip.
        return ts.open(
            {"driver": driver, "kvstore": base, "recheck_cached_data": "open", **spec},
            open=True,
            read=True,
            context=context,
        ).result(timeout=_PATIENCE)
    except TimeoutError as error:
        raise InputError(f"{base} did not answer in {_PATIENCE:.0f} s") from error
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{base} cannot be opened: {_short(error)}") from error


def _plain(base: str, driver: str, attributes: dict, level: int, context: ts.Context) -> Opened:
    _only_level_0(base, level)
    store = _open(base, driver, context)
    voxel_nm = _attribute_voxel_nm(attributes) or _unit_voxel_nm(store)
    return Opened(_last_axes(base, store), voxel_nm)


def _pyramid(base: str, driver: str, attributes: dict, level: int, context: ts.Context) -> Opened:
    """Opens a level of an OME-Zarr image, version 0.4 or 0.5."""
    scales = attributes.get("multiscales")
    if not scales:
        raise InputError(f"{base} is a group, not an array; name one{_inside(base)}")
    levels = scales[0]["datasets"]
    if level >= len(levels):
        raise InputError(f"{base} has levels 0 to {len(levels) - 1}, not {level}")
    store = _open(base + levels[level]["path"].strip("/") + "/", driver, context)
    axes = [a if isinstance(a, dict) else {"name": a} for a in scales[0].get("axes", [])]
    if [a["name"] for a in axes[-3:]] not in ([], ["z", "y", "x"]):
        raise InputError(
            f"{base} has axes {[a['name'] for a in axes]}; emjax reads z, y, x as the last"
        )
    factors = [1.0] * store.rank
    for owner in (scales[0], levels[level]):
        for transformation in owner.get("coordinateTransformations", []):
            if transformation.get("type") == "scale":
                factors = [a * b for a, b in zip(factors, transformation["scale"], strict=True)]
    units = [unit_nm(a.get("unit")) for a in axes[-3:]]
    voxel_nm = None
    if len(units) == 3 and all(units):
        voxel_nm = tuple(f * u for f, u in zip(factors[-3:], units, strict=True))
    return Opened(_last_axes(base, store), voxel_nm)


def _n5(base: str, attributes: dict, level: int, context: ts.Context) -> Opened:
    """Opens an N5 array, whose axes are x, y, z (and c), or a level `s0`, `s1`, ... of a group of them."""
    if "dimensions" not in attributes:
        return _n5_level(base, attributes, level, context)
    _only_level_0(base, level)
    store = _open(base, "n5", context)
    store = store[ts.d[tuple(reversed(range(store.rank)))].transpose[:]]
    return Opened(_last_axes(base, store), _n5_voxel_nm(attributes))


def _n5_level(base: str, attributes: dict, level: int, context: ts.Context) -> Opened:
    """Opens a level of an N5 group as Paintera and OpenOrganelle write it."""
    folder = f"{base}s{level}/"
    inner = _read_metadata(folder)["attributes.json"]
    if inner is None or "dimensions" not in inner:
        raise InputError(
            f"{base} is an N5 group without a level s{level}; name an array{_inside(base)}"
        )
    opened = _n5(folder, inner, 0, context)
    whole = _n5_voxel_nm(attributes)
    if opened.voxel_nm is not None or whole is None:
        return opened
    factors = inner.get("downsamplingFactors", (1, 1, 1))
    voxel_nm = tuple(a * float(b) for a, b in zip(whole, reversed(factors), strict=True))
    return opened._replace(voxel_nm=voxel_nm)


def _n5_voxel_nm(attributes: dict) -> Triple | None:
    """Reads `resolution` or `pixelResolution`, both x, y, z."""
    values, factor = attributes.get("resolution"), 1.0
    pixel = attributes.get("pixelResolution")
    if values is None and isinstance(pixel, dict):
        values, factor = pixel.get("dimensions"), unit_nm(pixel.get("unit", "nm"))
    if not isinstance(values, list) or len(values) != 3 or not factor:
        return None
    return tuple(float(v) * factor for v in reversed(values))


def _precomputed(base: str, info: dict, level: int, context: ts.Context) -> Opened:
    """Opens a scale of a Neuroglancer volume, whose axes are x, y, z, channel."""
    scales = info["scales"]
    if level >= len(scales):
        raise InputError(f"{base} has levels 0 to {len(scales) - 1}, not {level}")
    store = _open(base, "neuroglancer_precomputed", context, scale_index=level)
    store = store[ts.d[3, 2, 1, 0].transpose[:]]
    voxel_nm = tuple(float(v) for v in reversed(scales[level]["resolution"]))
    return Opened(_last_axes(base, store), voxel_nm)


def _last_axes(base: str, store: ts.TensorStore) -> ts.TensorStore:
    """Drops leading axes of length 1 (time, one channel)."""
    while store.rank > 3 and store.shape[0] == 1:
        store = store[store.domain.inclusive_min[0]]
    if store.rank > 4:
        raise InputError(
            f"{base} has axes of {tuple(store.shape)}; a volume needs z, y, x or c, z, y, x"
        )
    return store


def _attribute_voxel_nm(attributes: dict) -> Triple | None:
    """Reads `resolution` and its like, z, y, x in nm."""
    for name in ("resolution", "voxel_size_nm_zyx", "voxel_size"):
        values = attributes.get(name)
        if isinstance(values, list | tuple) and len(values) == 3:
            return tuple(float(v) for v in values)
    return None


def _unit_voxel_nm(store: ts.TensorStore) -> Triple | None:
    """Reads the units that zarr 3 and TensorStore keep for each axis."""
    units = store.dimension_units[-3:]
    factors = [unit_nm(u.base_unit) if u is not None else None for u in units]
    if len(units) != 3 or not all(factors):
        return None
    return tuple(u.multiplier * f for u, f in zip(units, factors, strict=True))


def _only_level_0(base: str, level: int) -> None:
    if level:
        raise InputError(f"{base} is a single array, no pyramid; leave out level={level}")


def _inside(base: str) -> str:
    """Names the arrays in a local folder; a bucket may hold millions of keys, so it is not asked."""
    if not base.startswith("file://"):
        return ""
    root = urllib.request.url2pathname(base.removeprefix("file://"))
    arrays = []
    for folder, subfolders, files in os.walk(root):
        subfolders.sort()
        found = {name for name in METADATA_FILES if name in files}
        if folder != root and found and ".zgroup" not in found and not _is_group(folder):
            arrays.append(os.path.relpath(folder, root))
            # Below an array are only its chunks.
            subfolders.clear()
        if len(arrays) == 8:
            break
    return f"; inside are: {', '.join(arrays)}" if arrays else ""


def _is_group(folder: str) -> bool:
    files = _read_metadata(Path(folder).absolute().as_uri() + "/")
    zarr, n5 = files["zarr.json"], files["attributes.json"]
    return (zarr is not None and zarr.get("node_type") == "group") or (
        zarr is None and n5 is not None and "dimensions" not in n5
    )


def _short(error: Exception) -> str:
    """TensorStore appends the whole spec to its messages; the first sentence is what helps."""
    return str(error).splitlines()[0].split(" [")[0][:200]
