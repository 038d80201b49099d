"""Array formats that TensorStore reads itself: zarr 2 and 3, OME-Zarr, N5 and Neuroglancer precomputed.

Local or remote (`gs://`, `s3://`, `http://`): everything goes through a key-value store.
"""

from __future__ import annotations

import json
from typing import Any

import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.opened import Opened

Triple = tuple[float, float, float]
_NANOMETRES = {
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometers": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "micrometer": 1e3,
    "micron": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "m": 1e9,
    "meter": 1e9,
}


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
    base = url.rstrip("/") + "/" + (dataset.strip("/") + "/" if dataset else "")
    files = {
        name: _read_json(base, name)
        for name in ("zarr.json", ".zattrs", ".zarray", "attributes.json", "info")
    }
    if files["zarr.json"] is not None:
        attributes = files["zarr.json"].get("attributes", {})
        if files["zarr.json"].get("node_type") == "array":
            return _plain(base, "zarr3", attributes, level, context)
        return _pyramid(base, "zarr3", attributes.get("ome", attributes), level, context)
    if files[".zarray"] is not None:
        return _plain(base, "zarr", files[".zattrs"] or {}, level, context)
    if files[".zattrs"] is not None and "multiscales" in files[".zattrs"]:
        return _pyramid(base, "zarr", files[".zattrs"], level, context)
    if files["attributes.json"] is not None and "dimensions" in files["attributes.json"]:
        return _n5(base, files["attributes.json"], level, context)
    if files["info"] is not None and "scales" in files["info"]:
        return _precomputed(base, files["info"], level, context)
    raise InputError(
        f"{url}{':' + dataset if dataset else ''} holds no zarr, N5 or precomputed array{_inside(base)}"
    )


def _read_json(base: str, name: str) -> dict[str, Any] | None:
    try:
        found = ts.KvStore.open(base).result().read(name).result()
    except ValueError as error:
        raise InputError(f"{base} cannot be read: {_short(error)}") from error
    if found.state != "value":
        return None
    try:
        value = json.loads(found.value)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _open(base: str, driver: str, context: ts.Context, **spec: Any) -> ts.TensorStore:
    try:
        # The metadata of a volume in use does not change; checking it again before every read costs 15 times the read.
        return ts.open(
            {"driver": driver, "kvstore": base, "recheck_cached_data": False, **spec},
            open=True,
            read=True,
            context=context,
        ).result()
    except ValueError as error:
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
    units = [_NANOMETRES.get(a.get("unit", "")) for a in axes[-3:]]
    voxel_nm = None
    if len(units) == 3 and all(units):
        voxel_nm = tuple(f * u for f, u in zip(factors[-3:], units, strict=True))
    return Opened(_last_axes(base, store), voxel_nm)


def _n5(base: str, attributes: dict, level: int, context: ts.Context) -> Opened:
    """Opens an N5 array, whose axes are x, y, z (and c)."""
    _only_level_0(base, level)
    store = _open(base, "n5", context)
    store = store[ts.d[tuple(reversed(range(store.rank)))].transpose[:]]
    values = attributes.get("resolution")
    pixel = attributes.get("pixelResolution")
    factor = 1.0
    if values is None and isinstance(pixel, dict):
        values, factor = pixel.get("dimensions"), _NANOMETRES.get(pixel.get("unit", "nm"))
    voxel_nm = None
    if values and len(values) == 3 and factor:
        voxel_nm = tuple(float(v) * factor for v in reversed(values))
    return Opened(_last_axes(base, store), voxel_nm)


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
    if len(units) != 3 or any(u is None or u.base_unit not in _NANOMETRES for u in units):
        return None
    return tuple(u.multiplier * _NANOMETRES[u.base_unit] for u in units)


def _only_level_0(base: str, level: int) -> None:
    if level:
        raise InputError(f"{base} is a single array, no pyramid; leave out level={level}")


def _inside(base: str) -> str:
    """Names the folders inside, where they can be listed."""
    try:
        keys = ts.KvStore.open(base).result().list().result()
    except ValueError:
        return ""
    folders = sorted({key.decode().rsplit("/", 1)[0] for key in keys[:10_000] if b"/" in key})
    arrays = [f for f in folders if not f.rsplit("/", 1)[-1].isdigit() and "/c/" not in f + "/"]
    return f"; inside are: {', '.join(arrays[:8])}" if arrays else ""


def _short(error: Exception) -> str:
    """TensorStore appends the whole spec to its messages; the first sentence is what helps."""
    return str(error).splitlines()[0].split(" [")[0][:200]
