"""The place that a file states, as metadata of every kind give it.

Formats count in their own units, from centres or corners; nothing here is converted to voxels of the whole yet: see
`emjax.volumes.origin`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from emjax.geometry.sizes import Triple
from emjax.volumes.voxel_sizes import spatial_units, spatial_values, unit_nm

# Attribute of volumes that emjax made at another voxel size than that of the whole, from whose first voxel's centre the
# translation counts: its (z, y, x) voxel size, nm.
WHOLE = "whole_nm"


class Transformation(NamedTuple):
    """(z, y, x) size of a voxel, and place of the centre of the first voxel, in the file's own unit."""

    scale: np.ndarray
    translation: np.ndarray


class Place(NamedTuple):
    """Places of the addressed level and of the finest level of its pyramid; the same for a plain array."""

    level: Transformation
    finest: Transformation

    @classmethod
    def of(cls, translation: Sequence[float], scale: Sequence[float] = (1, 1, 1)) -> Place:
        """Returns the place of a plain array.

        Args:
            translation: (z, y, x) of the first voxel.
            scale: (z, y, x) size of a voxel, in the same unit; 1 where the translation counts voxels.
        """
        plain = Transformation(np.array(scale, float), np.array(translation, float))
        return cls(plain, plain)


def offset_place(
    attributes: Mapping[str, Any],
    voxel_nm: Triple | None,
    names: Sequence[str | None],
    keys: Sequence[str] = ("offset",),
) -> Place | None:
    """Reads the `offset` of CREMI, funlib and Paintera: place of the first voxel, in nm or in the unit `units`.

    Args:
        attributes: of the array.
        voxel_nm: (z, y, x) size of its voxels; without it an offset in nm means nothing.
        names: of the array's axes, in the order in which the offset lists them.
        keys: names of the attribute.

    Returns:
        None where there is no such attribute, or it is not understood.
    """
    for key in keys:
        values = spatial_values(attributes.get(key), names)
        if values is None:
            continue
        if voxel_nm is None:
            if any(values):
                _say_uncounted(key, ",".join(f"{value:g}" for value in values))
            continue
        factors = [unit_nm(u) for u in spatial_units(attributes.get("units"), names)]
        nm = [v * f for v, f in zip(values, factors, strict=True) if f]
        if len(nm) == len(factors):
            return Place.of(nm, voxel_nm)
    return _transform_place(attributes)


def ome_place(image: Mapping[str, Any], level: int, whole: Sequence[float] = ()) -> Place | None:
    """Reads the translations of an OME-Zarr image, in the units of its axes.

    Args:
        image: an item of `multiscales`.
        level: the addressed level.
        whole: (z, y, x) size of the voxels of the whole where that is not the finest level, in the units of the axes.

    Returns:
        None where the level, the finest level and the image all have no translation.
    """
    steps = [
        step
        for owner in (image["datasets"][level], image["datasets"][0], image)
        for step in owner.get("coordinateTransformations", [])
    ]
    place = Place(_of_level(image, level), _of_level(image, 0))
    if whole:
        finest = Transformation(np.array(whole, float), place.finest.translation)
        place = place._replace(finest=finest)
    return place if any(step["type"] == "translation" for step in steps) else None


def _of_level(image: Mapping[str, Any], level: int) -> Transformation:
    axes = [a["name"] if isinstance(a, dict) else a for a in image.get("axes", "zyx")]
    spatial = [[a.lower() for a in axes].index(axis) for axis in "zyx"]
    scale, translation = np.ones(3), np.zeros(3)
    # The transformations of a level are applied first, those of all levels after them.
    for owner in (image["datasets"][level], image):
        for step in owner.get("coordinateTransformations", []):
            values = np.asarray(step.get(step["type"], ()), float)
            if step["type"] == "scale":
                # An infinite scale is found to be impossible later, where the place is used.
                with np.errstate(invalid="ignore"):
                    scale, translation = scale * values[spatial], translation * values[spatial]
            elif step["type"] == "translation":
                translation = translation + values[spatial]
    return Transformation(scale, translation)


def _transform_place(attributes: Mapping[str, Any]) -> Place | None:
    """Reads `transform` of OpenOrganelle, which names its axes."""
    transform = attributes.get("transform")
    if not isinstance(transform, Mapping):
        return None
    axes = transform.get("axes", [])
    scale, translate = (spatial_values(transform.get(key), axes) for key in ("scale", "translate"))
    if scale is None or translate is None:
        return None
    return Place.of(translate, scale)


@functools.cache
def _say_uncounted(key: str, values: str) -> None:
    logging.warning(
        "%s of %s (z, y, x) in a volume without a voxel size says nothing of where it lies in voxels, and is left out: "
        "add ?voxel_nm=Z,Y,X or ?offset=Z,Y,X (voxels) to its address",
        key,
        values,
    )
