"""Erosion and dilation of objects, within sections, before a target is made of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from emjax.targets.labels import IGNORE, check_labels


def erode(labels: jax.Array, radius: int) -> jax.Array:
    """Turns voxels of objects into background if another label lies within `radius` along y and x.

    Args:
        labels: `[z, y, x]` int32.
        radius: voxels; 0 changes nothing.

    Returns:
        `[z, y, x]` int32. A voxel of an object with an unlabelled one within the radius, and no other label, becomes
        `IGNORE`: it may be at a hidden edge. The border of the crop is no edge.

    Raises:
        InputError: if the labels are not those of one crop.

    Source: the border erosion of PyTorch Connectomics, a minimum filter; square windows as there.
    """
    check_labels(labels)
    if radius == 0:
        return labels
    most, least, unknown = _windows(labels, radius)
    edge = (most != labels) | (least != labels) & (least >= 0)
    inner = jnp.where(unknown, IGNORE, labels)
    return jnp.where(labels > 0, jnp.where(edge, 0, inner), labels)


def dilate(labels: jax.Array, radius: int) -> jax.Array:
    """Gives background voxels the id of the nearest object within `radius` along y and x.

    Args:
        labels: `[z, y, x]` int32.
        radius: voxels; 0 changes nothing.

    Returns:
        `[z, y, x]` int32; of several objects at the same distance (the larger of the steps along y and x), the smallest
        id. Background with an unlabelled voxel within the radius becomes `IGNORE`: a hidden object may reach there.

    Raises:
        InputError: if the labels are not those of one crop.
    """
    check_labels(labels)
    if radius == 0:
        return labels
    grown = labels
    for _ in range(radius):
        ids = jnp.where(grown > 0, grown, _NONE)
        least = _reduce(ids, _NONE, jax.lax.min, 1)
        grown = jnp.where((grown == 0) & (least < _NONE), least, grown)
    *_, unknown = _windows(labels, radius)
    return jnp.where((labels == 0) & unknown, IGNORE, grown)


_NONE = jnp.iinfo(jnp.int32).max


def _windows(labels: jax.Array, radius: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the largest and the smallest known label around each voxel, and whether one there is unknown."""
    most = _reduce(labels, IGNORE, jax.lax.max, radius)
    known = jnp.where(labels == IGNORE, _NONE, labels)
    least = _reduce(known, _NONE, jax.lax.min, radius)
    unknown = _reduce(labels, _NONE, jax.lax.min, radius) == IGNORE
    return most, least, unknown


def _reduce(values: jax.Array, start: int, operation, radius: int) -> jax.Array:
    window = (1, 2 * radius + 1, 2 * radius + 1)
    return jax.lax.reduce_window(values, jnp.int32(start), operation, window, (1, 1, 1), "SAME")
