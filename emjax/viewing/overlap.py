"""Finds the tissue that several layers share, whatever their voxel sizes and places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import logging

from emjax.geometry.box import Box
from emjax.viewing.layers import Layer

# Rounding error, in voxels, when a place in nm is converted to voxels.
_ROUNDING = 1e-6


def crop_layers(layers: Sequence[Layer], box: Box) -> list[Layer]:
    """Cuts the same tissue out of all layers; leaves out layers that have none of it.

    Args:
        layers: layers; the box refers to the first one.
        box: box in voxels of the first layer.
    """
    start, stop = (
        np.multiply(np.add(layers[0].origin, corner), layers[0].voxel_nm)
        for corner in (box.start, box.stop)
    )
    cropped = []
    for layer in layers:
        first, last = (corner / layer.voxel_nm - layer.origin for corner in (start, stop))
        part = Box.between(
            tuple(int(v) for v in np.floor(first + _ROUNDING)),
            tuple(int(v) for v in np.ceil(last - _ROUNDING)),
        ).intersect(Box((0, 0, 0), layer.volume.size))
        if part is None:
            logging.warning("%s has nothing in box %s of %s", layer.name, box, layers[0].name)
        else:
            cropped.append(layer.crop(part))
    return cropped


def shared_box(layers: Sequence[Layer], box: Box) -> Box:
    """Returns the part of a box that all layers cover, or the whole box if there is no such part.

    Args:
        layers: layers; the box refers to the first one, which is not cut to the box.
        box: box in voxels of the first layer.
    """
    first, shared = layers[0], box
    for layer in layers:
        start, stop = (
            np.round(corner / first.voxel_nm - first.origin, 3)
            for corner in (layer.start_nm, layer.stop_nm)
        )
        covered = Box.between(
            tuple(int(v) for v in np.ceil(start)), tuple(int(v) for v in np.floor(stop))
        )
        common = shared.intersect(covered)
        if common is None:
            return box
        shared = common
    return shared


def warn_of_gaps(layers: Sequence[Layer]) -> None:
    """Warns of layers that do not overlap with the first one: most often a voxel size or an origin is wrong."""
    first = layers[0]
    for layer in layers[1:]:
        start = np.maximum(first.start_nm, layer.start_nm)
        if (start >= np.minimum(first.stop_nm, layer.stop_nm)).any():
            logging.warning(
                "%s lies beside %s, not over it: z, y, x from %s nm to %s nm, and from %s to %s",
                *(layer.name, first.name, layer.start_nm, layer.stop_nm),
                *(first.start_nm, first.stop_nm),
            )
