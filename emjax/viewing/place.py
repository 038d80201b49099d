"""Where the first voxel of a file lies: the one thing of its place that an opened volume does not hold."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from emjax.errors import InputError
from emjax.volumes.address import SYNTHETIC, Address
from emjax.volumes.attributes import folder_url, read_file

Triple = tuple[float, float, float]

_NOWHERE: Triple = (0.0, 0.0, 0.0)


def file_origin(address: Address) -> Triple:
    """Returns where the corner of a file's first voxel lies, so that parts can be laid over their whole.

    OME-Zarr says where the centres of voxels lie. Level 0 is taken at its word, so that a part that begins at voxel 100
    lies at voxel 100; coarser levels are moved by half a voxel of theirs less half a voxel of level 0, so that their
    corner is that of level 0. A precomputed volume has a `voxel_offset`. All other formats begin at 0.

    Args:
        address: of the file; its box makes no difference.

    Returns:
        (z, y, x) voxels of the level that is addressed; whole numbers but for coarse levels.

    Raises:
        InputError: if the place cannot be read.
    """
    level = int(address.keys.get("level", "0"))
    if address.path.startswith(SYNTHETIC):
        return _NOWHERE
    url = folder_url(address.path)
    base = f"{url}{address.dataset}/" if address.dataset else url
    try:
        attributes = _multiscale(base)
        if attributes is None:
            info = _json(base, "info")
            return _of_precomputed(info, level) if info and "scales" in info else _NOWHERE
        return _of_ome(attributes, level)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{address.path}: its metadata does not say where it lies as OME-Zarr or precomputed volumes do ({error!r})"
        ) from error


def _multiscale(base: str) -> dict[str, Any] | None:
    """Returns the first image of an OME-Zarr group of version 0.4 or 0.5; None where there is none."""
    group = _json(base, "zarr.json")
    if group is not None:
        attributes = group.get("attributes", {})
        attributes = attributes.get("ome", attributes)
    else:
        attributes = _json(base, ".zattrs") or {}
    images = attributes.get("multiscales")
    return images[0] if images else None


def _of_ome(image: dict[str, Any], level: int) -> Triple:
    datasets = image["datasets"]
    scale, translation = _transformation(image, datasets[level])
    finest, first = _transformation(image, datasets[0])
    # A level without a place of its own begins where level 0 does.
    if level and not translation.any():
        return tuple(first / scale)
    corner = translation - (scale - finest) / 2
    # 4.4 nm / 1.1 nm is not 4.
    return tuple(np.round(corner / scale, 6).tolist())


def _transformation(image: dict[str, Any], dataset: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Returns scale and translation, z, y, x, of a level and then of the whole image."""
    names = [axis["name"] if isinstance(axis, dict) else axis for axis in image.get("axes", [])]
    # Version 0.3 and older have no axes: z, y, x are the last.
    spatial = [names.index(name) for name in "zyx"] if names else [-3, -2, -1]
    scale, translation = np.ones(3), np.zeros(3)
    for owner in (dataset, image):
        for step in owner.get("coordinateTransformations", []):
            if step["type"] == "scale":
                factor = np.asarray(step["scale"], np.float64)[spatial]
                scale, translation = scale * factor, translation * factor
            elif step["type"] == "translation":
                translation = translation + np.asarray(step["translation"], np.float64)[spatial]
    return scale, translation


def _of_precomputed(info: dict[str, Any], level: int) -> Triple:
    offset = info["scales"][level].get("voxel_offset", (0, 0, 0))
    z, y, x = (float(v) for v in reversed(offset))
    return z, y, x


def _json(base: str, name: str) -> dict[str, Any] | None:
    """Reads a metadata file; None where there is none. A plain file is no folder and has none either."""
    text = read_file(base, name)
    return json.loads(text) if text else None
