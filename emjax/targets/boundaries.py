"""Foreground, contours of objects, and the widening of borders."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.config import nearest
from emjax.errors import InputError
from emjax.targets.labels import IGNORE, check_labels, neighbour

EDGES = ("all", "instances", "touching")


def foreground(labels: jax.Array, ids: Sequence[int] = ()) -> tuple[jax.Array, jax.Array]:
    """Marks the voxels of objects.

    Args:
        labels: `[z, y, x]` int32.
        ids: which count as foreground; (): all above 0. Loaders renumber the ids of each crop, so
            that ids have a meaning only in labels that keep those of the file.

    Returns:
        values and mask, each `[z, y, x, 1]` float32; the mask is 0 where the label is `IGNORE`.
    """
    check_labels(labels)
    inside = jnp.isin(labels, jnp.asarray(ids, labels.dtype)) if ids else labels > 0
    return _channel(inside & (labels != IGNORE)), _channel(labels != IGNORE)


def contour(
    labels: jax.Array, thickness: int = 1, edges: str = "all", plane: bool = True
) -> tuple[jax.Array, jax.Array]:
    """Marks the contours of objects, on both sides of each edge.

    A voxel of thickness 1 differs from one that it shares a face with; each further voxel of
    thickness widens that by one in all directions, diagonals included.

    Args:
        labels: `[z, y, x]` int32.
        thickness: voxels on each side of an edge.
        edges: 'all': between any two ids, background included; 'instances': the same edges, drawn
            on objects alone and not on background; 'touching': only where two objects meet, drawn
            on objects alone.
        plane: contours within each section, not across sections.

    Returns:
        values and mask, each `[z, y, x, 1]` float32. A value is known where everything that could
        make it 1 is: no unlabelled voxel, and no border of the crop, within `thickness` (along y
        and x alone if `plane`). Known contours beside unknown voxels are masked as well: kept
        alone, they would teach that contours run along the borders of crops. Where contours are
        drawn on objects alone, background is known to be 0.

    Raises:
        InputError: an argument is out of range.

    Source: the modes are those of PyTorch Connectomics (`seg-no-bg` is 'touching'), whose
    'seg-all' equals 'all' and whose borders are not masked; both are our choice.
    """
    check_labels(labels)
    check_contour(thickness, edges)
    axes = (1, 2) if plane else (0, 1, 2)
    margin = [(thickness, thickness) if axis in axes else (0, 0) for axis in range(3)]
    wide = jnp.pad(labels, margin, constant_values=IGNORE)
    edge = jnp.zeros(wide.shape, bool)
    unknown = wide == IGNORE
    for axis in axes:
        for step in (-1, 1):
            other = neighbour(wide, [step if a == axis else 0 for a in range(3)])
            differs = (wide != other) & (wide != IGNORE) & (other != IGNORE)
            if edges == "instances":
                differs &= wide > 0
            elif edges == "touching":
                differs &= (wide > 0) & (other > 0)
            edge |= differs
            unknown |= other == IGNORE
    edge, unknown = (_widened(flags, thickness - 1, axes) for flags in (edge, unknown))
    inner = tuple(slice(low, -high or None) for low, high in margin)
    edge, known = edge[inner], ~unknown[inner]
    if edges != "all":
        edge &= labels > 0
        known |= labels == 0
    return _channel(edge & known), _channel(known)


def widen(labels: jax.Array) -> jax.Array:
    """Widens the borders between objects: a voxel whose 3x3 window holds two ids becomes background.

    Windows lie within a section and end at the border of the crop. Background and `IGNORE` in a
    window do not count as ids, and ignored voxels stay so.

    Args:
        labels: `[z, y, x]` int32.

    Returns:
        `[z, y, x]` int32.

    Source: the border widening of the code released with arXiv:2308.09917, for neuron labels.
    """
    check_labels(labels)
    largest = jnp.iinfo(labels.dtype).max
    window, steps = (1, 3, 3), (1, 1, 1)
    most = jax.lax.reduce_window(labels, jnp.int32(IGNORE), jax.lax.max, window, steps, "SAME")
    ids = jnp.where(labels > 0, labels, largest)
    least = jax.lax.reduce_window(ids, jnp.int32(largest), jax.lax.min, window, steps, "SAME")
    return jnp.where((least < most) & (labels > 0), 0, labels)


def check_contour(thickness: int, edges: str) -> None:
    """Raises InputError unless these are options of a contour."""
    if thickness < 1:
        raise InputError(f"contour: thickness={thickness} is below 1; give voxels on each side")
    if edges not in EDGES:
        raise InputError(f"contour: edges={edges} is unknown{nearest(edges, EDGES)}")


def _widened(flags: jax.Array, radius: int, axes: Sequence[int]) -> jax.Array:
    if radius == 0:
        return flags
    window = tuple(2 * radius + 1 if axis in axes else 1 for axis in range(3))
    return jax.lax.reduce_window(flags, False, jax.lax.bitwise_or, window, (1, 1, 1), "SAME")


def _channel(flags: jax.Array) -> jax.Array:
    return flags.astype(jnp.float32)[..., None]
