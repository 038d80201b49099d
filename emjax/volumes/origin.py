"""Where a volume lies: the translation of OME-Zarr, the offset of precomputed volumes, the box of an address."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.attributes import folder_url, read_file
from emjax.volumes.store import Volume

Triple = tuple[float, float, float]


def origin_voxels(volume: Volume) -> Triple:
    """Returns where the first voxel of a volume lies, (z, y, x), counted in its voxels.

    0 is the centre of a voxel: that of the first one in files that do not say otherwise.

    Args:
        volume: opened; of a part, its box counts too.

    Raises:
        InputError: if the metadata are damaged.
    """
    address = volume.address
    start = tuple(float(s) for s in volume.box.start)
    remote = address.path.startswith(("gs://", "s3://", "http://", "https://"))
    if not remote and not os.path.isdir(os.path.expanduser(address.path)):
        return start
    url = folder_url(address.path)
    base = f"{url}{address.dataset}/" if address.dataset else url
    level = int(address.keys.get("level", "0"))
    try:
        moved = _of_file(base, level)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{volume.name} has metadata that do not say where it lies: {type(error).__name__} {error}"
        ) from error
    return tuple(a + b for a, b in zip(start, moved, strict=True))


def place_of(volume: Volume, box: Box) -> Triple:
    """Returns where a part of a volume lies in the whole, (z, y, x) voxels: what is made of it lies there too.

    Args:
        volume: opened.
        box: in its voxels.

    Raises:
        InputError: as `origin_voxels`.
    """
    return tuple(a + b for a, b in zip(origin_voxels(volume), box.start, strict=True))


def _of_file(base: str, level: int) -> Triple:
    for name in ("zarr.json", ".zattrs", "info"):
        text = read_file(base, name)
        if not text:
            continue
        values = json.loads(text)
        if name == "info":
            offset = values["scales"][level].get("voxel_offset", (0, 0, 0))
            return tuple(float(v) for v in reversed(offset))
        attributes = values.get("attributes", {}) if name == "zarr.json" else values
        multiscales = attributes.get("ome", attributes).get("multiscales")
        if multiscales:
            return _of_image(multiscales[0], level)
    return (0.0, 0.0, 0.0)


def _of_image(image: Mapping[str, Any], level: int) -> Triple:
    """Reads an OME-Zarr image; units cancel, since the answer is in voxels."""
    axes = [a["name"] if isinstance(a, dict) else a for a in image.get("axes", "zyx")]
    scale, moved = [1.0] * len(axes), [0.0] * len(axes)
    # Those of a level come first, those of all levels after them.
    for owner in (image["datasets"][level], image):
        for step in owner.get("coordinateTransformations", []):
            if step.get("type") == "scale":
                scale, moved = _times(scale, step["scale"]), _times(moved, step["scale"])
            elif step.get("type") == "translation":
                moved = [a + b for a, b in zip(moved, step["translation"], strict=True)]
    places = [axes.index(axis) for axis in "zyx"]
    # Whole voxels are whole again after the way through nanometres and back.
    return tuple(round(moved[i] / scale[i], 6) for i in places)


def _times(values: Sequence[float], factors: Sequence[float]) -> list[float]:
    return [a * b for a, b in zip(values, factors, strict=True)]
