"""Reads WEBKNOSSOS datasets: layers of magnifications, each a zarr array with axes c, x, y, z.

Only `datasource-properties.json` of the dataset describes the arrays: zarr 2 has no names of axes, and no array states
its voxel size.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.volumes.attributes import parent_url
from emjax.volumes.axes import Names, axis_names
from emjax.volumes.format import Format, Request
from emjax.volumes.formats import FORMATS
from emjax.volumes.place import Place
from emjax.volumes.read.arrays import checked
from emjax.volumes.read.folder_metadata import read_metadata, shown
from emjax.volumes.read.opened import Opened
from emjax.volumes.read.outside import inside
from emjax.volumes.voxel_sizes import unit_nm

FILE = "datasource-properties.json"
# The N5 opener knows nothing of the dataset's axes and voxel size, and would turn arrays of another order silently.
_ARRAYS = ("zarr", "zarr3")


class Magnification(NamedTuple):
    """One resolution of a layer.

    Attributes:
        path: of its array, relative to the dataset.
        names: of the array's axes.
        voxel_nm: (z, y, x) voxel size, nm; None where the unit is unknown.
    """

    path: str
    names: Names
    voxel_nm: Triple | None


def find_magnification(base: str, context: ts.Context | None = None) -> Magnification | None:
    """Returns what a WEBKNOSSOS dataset states about one of its arrays; None if the array lies in no such dataset.

    Args:
        base: URL of the array's folder, DATASET/LAYER/MAGNIFICATION, with a slash at its end.
        context: as for `read_metadata`.

    Raises:
        InputError: if the dataset's file cannot be read, or is damaged.
    """
    above, name = parent_url(base)
    dataset, layer = parent_url(above) if above else ("", "")
    about = _read_dataset(dataset, context) if dataset else {}
    found = (m for given in about.get("dataLayers", ()) for m in _magnifications(about, given))
    return next((m for m in found if m.path == f"{layer}/{name}"), None)


def _read_dataset(url: str, context: ts.Context | None) -> dict[str, Any]:
    """Returns what a folder's file says of a dataset; empty where there is none."""
    return read_metadata(url, context, (FILE,))[FILE] or {}


def open_webknossos(request: Request) -> Opened:
    """Opens a magnification of a layer; the key `level` counts them, the finest is 0.

    Raises:
        InputError: if there is no such layer or level, or it is stored in a format that emjax does not read.
    """
    return FORMATS.find("zarr").open(_array(request))


def where(request: Request) -> Place | None:
    """Returns 0: arrays of WEBKNOSSOS begin where the dataset begins, and are empty outside of the layer's box."""
    return Place.of((0, 0, 0))


def _array(request: Request) -> Request:
    """Returns the request for the addressed array."""
    about = _read_dataset(request.url, request.context)
    layers = {layer["name"]: layer for layer in about.get("dataLayers", [])}
    name = request.address.dataset or (next(iter(layers)) if len(layers) == 1 else "")
    if name not in layers:
        raise InputError(
            f"{shown(request.url)} is a WEBKNOSSOS dataset; name a layer, as in {request.address.path}:LAYER; it has: "
            f"{', '.join(layers) or 'none'}"
        )
    layer = layers[name]
    kind = layer.get("dataFormat", "wkw")
    if kind not in _ARRAYS:
        raise InputError(
            f"{shown(request.url)}: layer {name} is kept as {kind}; emjax reads those kept as {', '.join(_ARRAYS)}: "
            "convert it with the webknossos command, or stream it as zarr"
        )
    found = _magnifications(about, layer)
    if request.level >= len(found):
        raise InputError(
            f"{shown(request.url)}: layer {name} has levels 0 to {len(found) - 1}, not {request.level}"
        )
    keys = {key: value for key, value in request.address.keys.items() if key != "level"}
    path = inside(request.address, found[request.level].path)
    address = dataclasses.replace(request.address, dataset=path, keys=keys)
    return Request(address, request.context)


def _magnifications(about: dict[str, Any], layer: dict[str, Any]) -> list[Magnification]:
    """Returns the magnifications of a layer, the finest first."""
    scale = about.get("scale", {})
    factor, unit = (
        (scale.get("factor"), scale.get("unit", "nanometer"))
        if isinstance(scale, dict)
        else (scale, "nanometer")
    )
    nm = unit_nm(unit)
    found = []
    for entry in layer.get("mags", layer.get("wkwResolutions", [])):
        mag = entry.get("mag", entry.get("resolution", 1))
        mag = [mag] * 3 if isinstance(mag, int | float) else mag
        default = "-".join(map(str, mag)) if len(set(mag)) > 1 else str(mag[0])
        path = entry.get("path", f"{layer['name']}/{default}").removeprefix("./").strip("/")
        order: dict[str, int] = entry.get("axisOrder") or {"c": 0, "x": 1, "y": 2, "z": 3}
        names = axis_names(sorted(order, key=order.__getitem__), len(order))
        size = None
        if factor and nm:
            size = tuple(f * m * nm for f, m in zip(factor[::-1], mag[::-1], strict=True))
        found.append((mag, Magnification(path, names, size)))
    return [found for _, found in sorted(found, key=lambda pair: pair[0])]


FORMAT = Format(
    title="WEBKNOSSOS datasets kept as zarr",
    given="a WEBKNOSSOS dataset",
    examples=("dataset:color", "dataset:segmentation?level=1"),
    reads="its chunks (inner chunks of shards)",
    voxel_nm="`scale` of `datasource-properties.json`, times the magnification",
    place="they begin where the dataset does",
    open=checked(open_webknossos),
    where=where,
    claims=lambda request: FILE in request.names,
    datasets=True,
    levels=True,
    missing="fill",
    absent="a chunk that was never written",
)
