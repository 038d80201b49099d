"""The medial axis of objects, and how far voxels are from that of their own object."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from emjax.targets.labels import neighbour

# A voxel is on the axis if the edges nearest to it and to its neighbour are further apart than this times their
# distance: 2 is opposite edges, the square root of 2 the sides of a right angle, which has no axis here (our choice).
_OPENING = 1.5


def nearest_edge(
    labels: jax.Array, spacing: jax.Array, plane: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Returns the distance to the nearest voxel of another label, and where that is.

    Args:
        labels: `[z, y, x]` int32; every number is a label.
        spacing: `[3]` (z, y, x) distance between voxels; may be traced.
        plane: whether to measure within each section only.

    Returns:
        `[z, y, x]` float32 in the unit of `spacing`, as `edge_distance` measures it; and `[3, z, y, x]` float32 voxels,
        without a meaning where the distance is infinite.
    """
    squared = jnp.full(labels.shape, jnp.inf)
    found = jnp.stack(jnp.indices(labels.shape)).astype(jnp.float32)
    for axis in (1, 2) if plane else (0, 1, 2):
        squared, found = _along(axis, labels, squared, found, spacing[axis])
    return jnp.sqrt(squared), found


def medial_axis(
    labels: jax.Array, spacing: jax.Array, plane: bool = False, num_ids: int = 65_536
) -> tuple[jax.Array, jax.Array]:
    """Marks the medial axis of each object: voxels midway between edges on opposite sides; in 3D also medial surfaces.

    Args:
        labels: `[z, y, x]` int32, dense ids; objects are above 0.
        spacing: `[3]` (z, y, x) distance between voxels; may be traced.
        plane: whether objects are taken as they lie in each section.
        num_ids: more than the largest id; static.

    Returns:
        `[z, y, x]` bool; every object (in each section, if `plane`) with an edge in sight has at least its deepest
        voxels; and the distance to the edge, `[z, y, x]` float32.

    Source: the integer medial axis, Hesselink and Roerdink, IEEE TPAMI 30(12), 2008, doi:10.1109/TPAMI.2008.21, made
    of the nearest edges of neighbours; pruned by the angle at which the axis sees them.
    """
    distance, edge = nearest_edge(labels, spacing, plane)
    inside = (labels > 0) & jnp.isfinite(distance)
    scale = spacing[:, None, None, None]
    here = jnp.stack(jnp.indices(labels.shape)).astype(jnp.float32)
    axis = jnp.zeros(labels.shape, bool)
    for direction in (1, 2) if plane else (0, 1, 2):
        for step in (-1, 1):
            offset = [step if a == direction else 0 for a in range(3)]
            same = (neighbour(labels, offset) == labels) & inside
            there = jnp.stack([neighbour(part, offset) for part in edge])
            apart = (edge - there) * scale
            middle = here + 0.5 * jnp.asarray(offset, jnp.float32)[:, None, None, None]
            # Above 0 where the middle between both voxels is nearer to the neighbour's edge than to the own one.
            side = jnp.sum(apart * (edge + there - 2 * middle) * scale, axis=0)
            # The neighbours' own distance from each other opens no angle.
            both = jnp.where(same, (distance + neighbour(distance, offset)) / 2, 0.0)
            least = _OPENING * both + spacing[direction]
            opens = jnp.sum(jnp.square(apart), axis=0) > jnp.square(least)
            axis |= same & opens & (side >= 0)
    return axis | inside & (distance == _deepest(labels, distance, plane, num_ids)), distance


def axis_distance(
    labels: jax.Array, axis: jax.Array, spacing: jax.Array, plane: bool = False
) -> jax.Array:
    """Returns the distance of each voxel to the medial axis of its own object.

    The place of the nearest voxel of the axis spreads from voxel to voxel within each object until nothing changes, so
    that no axis of a neighbouring object counts.

    Args:
        labels: `[z, y, x]` int32.
        axis: `[z, y, x]` bool.
        spacing: `[3]` (z, y, x) distance between voxels; may be traced.
        plane: whether it spreads within sections only.

    Returns:
        `[z, y, x]` float32 in the unit of `spacing`; infinite where the object has no axis.
    """
    scale = spacing[:, None, None, None]
    here = jnp.stack(jnp.indices(labels.shape)).astype(jnp.float32)
    directions = (1, 2) if plane else (0, 1, 2)
    offsets = [[step if a == d else 0 for a in range(3)] for d in directions for step in (-1, 1)]
    same = [neighbour(labels, offset) == labels for offset in offsets]
    start = jnp.where(axis, 0.0, jnp.inf)

    def spread(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple:
        distance, place, _ = state
        best, where = distance, place
        for offset, joined in zip(offsets, same, strict=True):
            known = joined & jnp.isfinite(neighbour(distance, offset))
            from_there = jnp.stack([neighbour(part, offset) for part in place])
            found = jnp.sqrt(jnp.sum(jnp.square((here - from_there) * scale), axis=0))
            nearer = known & (found < best)
            best = jnp.where(nearer, found, best)
            where = jnp.where(nearer, from_there, where)
        return best, where, jnp.any(best < distance)

    distance, _, _ = jax.lax.while_loop(lambda s: s[2], spread, (start, here, jnp.array(True)))
    return distance


def _deepest(labels: jax.Array, distance: jax.Array, plane: bool, num_ids: int) -> jax.Array:
    def within(labels: jax.Array, distance: jax.Array) -> jax.Array:
        ids = jnp.maximum(labels, 0)
        most = jax.ops.segment_max(distance.ravel(), ids.ravel(), num_segments=num_ids)
        return jnp.take(most, ids, mode="fill", fill_value=jnp.nan)

    return (jax.vmap(within) if plane else within)(labels, distance)


def _along(
    axis: int, labels: jax.Array, squared: jax.Array, found: jax.Array, step: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Is `emjax.targets.edge_distance` along one axis, with the place of what is nearest."""
    place = jax.lax.broadcasted_iota(jnp.float32, labels.shape, axis)
    own = jnp.stack(jnp.indices(labels.shape)).astype(jnp.float32)

    def nearer(j: jax.Array, best: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        same = jax.lax.dynamic_index_in_dim(labels, j, axis) == labels
        across = jnp.where(same, jax.lax.dynamic_index_in_dim(squared, j, axis), 0.0)
        beside = jax.lax.dynamic_index_in_dim(found, j, axis + 1)
        itself = jax.lax.dynamic_index_in_dim(own, j, axis + 1)
        candidate = jnp.square(step * (place - j)) + across
        better = candidate < best[0]
        source = jnp.where(better & same, beside, jnp.where(better, itself, best[1]))
        return jnp.where(better, candidate, best[0]), source

    start = (jnp.full(labels.shape, jnp.inf), own)
    return jax.lax.fori_loop(0, labels.shape[axis], nearer, start)
