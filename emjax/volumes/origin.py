"""Where a volume lies: the translation of OME-Zarr, the offset of precomputed volumes, the box of an address.

OME-Zarr says where the centre of a voxel lies. A part that begins at voxel 100 of a whole lies at 100, whether centres
or corners are meant; a coarser level of it does not, hence two functions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Triple
from emjax.volumes.address import SYNTHETIC, Address
from emjax.volumes.attributes import folder_url, read_file
from emjax.volumes.store import Volume

_REMOTE = ("gs://", "s3://", "http://", "https://")


def origin_voxels(volume: Volume) -> Triple:
    """Returns where the centre of a volume's first voxel lies, (z, y, x), counted in its voxels.

    0 is the centre of a voxel: that of the first one in files that do not say otherwise.

    Args:
        volume: opened; of a part, its box counts too.

    Raises:
        InputError: if the metadata are damaged.
    """
    place = _place(volume.address)
    return _triple(place.level.translation / place.level.scale + volume.box.start)


def place_of(volume: Volume, box: Box) -> Triple:
    """Returns where a part of a volume lies in the whole, (z, y, x) voxels: what is made of it lies there too.

    Args:
        volume: opened.
        box: in its voxels.

    Raises:
        InputError: as `origin_voxels`.
    """
    return tuple(a + b for a, b in zip(origin_voxels(volume), box.start, strict=True))


def file_corner(address: Address) -> Triple:
    """Returns where the corner of a file's first voxel lies, so that levels and parts can be laid over their whole.

    Level 0 is taken at its word, so that a part that begins at voxel 100 lies at voxel 100; coarser levels are moved by
    half a voxel of theirs less half a voxel of level 0, so that their corner is that of level 0.

    Args:
        address: of the file; its box makes no difference.

    Returns:
        (z, y, x) voxels of the level that is addressed; whole numbers but for coarse levels.

    Raises:
        InputError: if the metadata are damaged.
    """
    level, finest = _place(address)
    # A level without a place of its own begins where level 0 does.
    if not level.translation.any():
        return _triple(finest.translation / level.scale)
    return _triple((level.translation - (level.scale - finest.scale) / 2) / level.scale)


class _Transformation(NamedTuple):
    """(z, y, x) size of a voxel, and place of the first one, in one unit or another."""

    scale: np.ndarray
    translation: np.ndarray


class _Place(NamedTuple):
    """Of the level that is addressed, and of the finest."""

    level: _Transformation
    finest: _Transformation


def _place(address: Address) -> _Place:
    """Reads where a file lies; files that do not say begin at 0."""
    start = _Transformation(np.ones(3), np.zeros(3))
    local = not address.path.startswith(_REMOTE)
    if address.path.startswith(SYNTHETIC):
        return _Place(start, start)
    if local and not os.path.isdir(os.path.expanduser(address.path)):
        return _Place(start, start)
    url = folder_url(address.path)
    base = f"{url}{address.dataset}/" if address.dataset else url
    level = int(address.keys.get("level", "0"))
    try:
        for name in ("zarr.json", ".zattrs", "info"):
            text = read_file(base, name)
            if not text:
                continue
            values = json.loads(text)
            if "scales" in values:
                # An offset counts voxels of the scale from the corner of all scales.
                offset = np.array(values["scales"][level].get("voxel_offset", (0, 0, 0)))
                moved = _Transformation(np.ones(3), offset[::-1].astype(float))
                return _Place(moved, moved)
            attributes = values.get("attributes", {}) if name == "zarr.json" else values
            images = attributes.get("ome", attributes).get("multiscales")
            if images:
                return _Place(*(_of_level(images[0], number) for number in (level, 0)))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{address.path}: its metadata do not say where it lies: {type(error).__name__} {error}"
        ) from error
    return _Place(start, start)


def _of_level(image: Mapping[str, Any], level: int) -> _Transformation:
    """Reads a level of an OME-Zarr image, in the units of its axes."""
    axes = [a["name"] if isinstance(a, dict) else a for a in image.get("axes", "zyx")]
    spatial = [axes.index(axis) for axis in "zyx"]
    scale, translation = np.ones(3), np.zeros(3)
    # Those of a level come first, those of all levels after them.
    for owner in (image["datasets"][level], image):
        for step in owner.get("coordinateTransformations", []):
            values = np.asarray(step.get(step["type"], ()), float)
            if step["type"] == "scale":
                scale, translation = scale * values[spatial], translation * values[spatial]
            elif step["type"] == "translation":
                translation = translation + values[spatial]
    return _Transformation(scale, translation)


def _triple(values: np.ndarray) -> Triple:
    # Whole voxels are whole again after the way through nanometres and back: 4.4 nm / 1.1 nm is not 4.
    return tuple(np.round(values, 6).tolist())
