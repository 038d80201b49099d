"""Saves layers of napari as volumes and tables that emjax reads: labels as OME-Zarr, points as a table in nm."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from emjax.blocks.complete import COMPLETE
from emjax.errors import InputError
from emjax.runs.whole_file import write_whole
from emjax.viewing.napari_reader import POINT_COLUMNS
from emjax.volumes.create import create_volume, set_attributes, volume_exists


def write_labels(path: str, data: Any, options: Mapping[str, Any]) -> list[str]:
    """Writes a Labels layer as an OME-Zarr that lies where the layer lies.

    Args:
        path: of the folder to make; an existing one is never replaced.
        data: `[z, y, x]` or `[y, x]` whole numbers; of a pyramid, the levels, fine to coarse.
        options: keyword arguments of the layer; scale and translate are taken as nm.

    Returns:
        The path, as napari wants it.

    Raises:
        InputError: if there is something already, the layer is turned or sheared, or has another number of axes.
    """
    array = data[0] if isinstance(data, Sequence) else data
    array = array[np.newaxis] if array.ndim == 2 else array
    if array.ndim != 3 or np.dtype(array.dtype).kind not in "uib":
        raise InputError(
            f"{options.get('name', 'the layer')} is {array.dtype}{list(array.shape)}; labels are whole numbers with "
            "axes z, y, x"
        )
    if epath.Path(path).exists() or volume_exists(path):
        raise InputError(f"{path} exists; give another name")
    scale, translate = _place(options)
    known = _in_nm(options)
    dtype = np.uint8 if array.dtype == bool else array.dtype
    store = create_volume(
        path,
        array.shape,
        dtype,
        tuple(scale.tolist()) if known else None,
        {"kind": "labels", COMPLETE: False},
        origin=tuple((translate / scale).tolist()),
    )
    # A slab of whole files at a time: a layer may be larger than memory.
    depth = (store.chunk_layout.write_chunk.shape or array.shape)[0] or 1
    for z in range(0, array.shape[0], depth):
        store[z : z + depth].write(np.asarray(array[z : z + depth]).astype(dtype)).result()
    set_attributes(path, {"kind": "labels", COMPLETE: True})
    return [path]


def write_points(path: str, data: Any, options: Mapping[str, Any]) -> list[str]:
    """Writes a Points layer as a table with the columns z_nm, y_nm and x_nm, and those of the layer's features.

    Args:
        path: of the .csv file.
        data: `[n, 3]` points in voxels of the layer.
        options: keyword arguments of the layer; scale and translate are taken as nm.

    Returns:
        The path, as napari wants it.

    Raises:
        InputError: if the points have other axes than z, y, x, or the layer is turned or sheared.
    """
    points = np.asarray(data, float)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"{path}: points have axes z, y, x; these are {list(points.shape)}")
    scale, translate = _place(options)
    table = options.get("features")
    # A pandas table, whose truth is undefined, or a dictionary of columns.
    features = {} if table is None else {str(name): list(table[name]) for name in table}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*POINT_COLUMNS, *features])
    for number, point in enumerate(points * scale + translate):
        values = [f"{value:.9g}" for value in point]
        writer.writerow([*values, *(column[number] for column in features.values())])
    write_whole(epath.Path(path), text.getvalue().encode())
    return [path]


def _place(options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (z, y, x) scale and translation of a layer; a layer of one section lies in the first."""
    scale = np.array(options.get("scale", (1, 1, 1)), float)
    translate = np.array(options.get("translate", np.zeros(len(scale))), float)
    axes = len(scale)
    for name in ("rotate", "affine"):
        matrix = np.asarray(options[name]) if options.get(name) is not None else np.eye(axes)
        if not np.allclose(matrix, np.eye(len(matrix))):
            raise InputError(
                f"{options.get('name', 'the layer')} has a {name}: it cannot be saved in voxels; take it off"
            )
    if np.any(np.asarray(options.get("shear", 0))):
        raise InputError(f"{options.get('name', 'the layer')} is sheared: take that off to save it")
    if axes == 2:
        scale, translate = np.array([scale.min(), *scale]), np.array([0.0, *translate])
    return scale, translate


def _in_nm(options: Mapping[str, Any]) -> bool:
    """Whether lengths are nm: layers of emjax say so, and new layers take the scale of those that are there."""
    units = [str(unit) for unit in options.get("units") or ()]
    if any(unit not in ("nm", "nanometer", "nanometre") for unit in units):
        return False
    return bool(units) or not np.allclose(options.get("scale", (1, 1, 1)), 1)
