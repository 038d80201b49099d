"""The target `flow`: from each voxel of an object, the direction in which its centre is reached."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.targets.distance import MOST_IDS
from emjax.targets.labels import IGNORE, check_labels
from emjax.targets.metrics import MeanAbsoluteError
from emjax.targets.target import Losses, Target

# Slopes of less than this share of the heat are none.
_LEVEL = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flow(Target):
    """Two channels, y and x, or three, z, y and x: a vector of length 1 in objects, 0 in background.

    Attributes:
        losses: of all channels together.
        plane: whether the flow is that of each section; else it goes across sections, too.
    """

    losses: Losses = (("mse", 5.0),)
    plane: bool = True

    kind = "flow"
    metric = MeanAbsoluteError("flow_mae", lowest=-1.0)
    activation = "tanh"
    known_losses = ("mse", "l1")
    decoder = "flow"
    continuous = True

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel."""
        return ("flow_y", "flow_x") if self.plane else ("flow_z", "flow_y", "flow_x")

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`; values in [-1, 1], which `unit` and stored predictions map to [0, 1]."""
        return flow(labels, self.plane)


def flow(labels: jax.Array, plane: bool = True) -> tuple[jax.Array, jax.Array]:
    """Returns the direction in which heat from the centre of each object reached a voxel, towards the centre.

    Heat enters at the centre, the voxel of the object that is nearest to its centre of mass, and spreads to neighbours
    within the object: each step takes the mean of a voxel and its neighbours (8 in a section, 6 in space), of which
    those outside of the object are cold. There are twice as many steps as the sides of the largest bounding box sum to.

    Args:
        labels: `[z, y, x]` int32, ids dense within the crop, up to 65535. Pieces of an object without the centre get no
            heat.
        plane: whether objects are taken as they lie in each section.

    Returns:
        values `[z, y, x, 2 or 3]` float32 in [-1, 1], y, x or z, y, x, in voxels; and mask of the same shape, 0 where
        the label is unknown, or heat did not arrive. Objects that the border of the crop cuts have the centre of the
        part inside.

    Raises:
        InputError: if the labels are not those of one crop.

    Source: Cellpose, doi:10.1038/s41592-020-01018-x. It runs one object at a time, and so with fewer steps for small
    ones.
    """
    check_labels(labels)
    group = jnp.maximum(labels, 0)
    # In a section, or in space, all axes that heat goes along.
    found, heat = jax.vmap(_flow)(group) if plane else _flow(group)
    known = (labels == 0) | (labels > 0) & (heat > 0)
    known &= labels != IGNORE
    values = jnp.where(known[..., None] & (labels > 0)[..., None], found, 0.0)
    return values, jnp.broadcast_to(known[..., None], values.shape).astype(jnp.float32)


def _flow(group: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the flow `[..., axes]` and the heat `[...]` of objects in as many axes as the array has."""
    axes = group.ndim
    offsets = [
        offset
        for offset in itertools.product((-1, 0, 1), repeat=axes)
        if any(offset) and (axes == 2 or sum(map(abs, offset)) == 1)
    ]
    source, steps = _centres(group)
    same = [(_moved(group, offset) == group) & (group > 0) for offset in offsets]

    def spread(_: jax.Array, heat: jax.Array) -> jax.Array:
        heat = heat + source
        total = heat
        for offset, joined in zip(offsets, same, strict=True):
            total = total + jnp.where(joined, _moved(heat, offset), 0.0)
        return total / (len(offsets) + 1)

    heat = jax.lax.fori_loop(0, steps, spread, jnp.zeros(group.shape))
    slopes = []
    for axis in range(axes):
        after, before = (
            jnp.where((_moved(group, o) == group), _moved(heat, o), 0.0)
            for o in (_unit(axis, axes, 1), _unit(axis, axes, -1))
        )
        slopes.append(after - before)
    slope = jnp.stack(slopes, axis=-1)
    steepest = jnp.max(jnp.abs(slope), axis=-1, keepdims=True)
    # At the centre, what is left of equal heat on both sides is rounding.
    slope = jnp.where(steepest > _LEVEL * heat[..., None], slope, 0.0)
    # Far from the centre squares of slopes would be 0 in float32.
    slope = slope / jnp.maximum(steepest, 1e-37)
    return slope / jnp.maximum(jnp.linalg.norm(slope, axis=-1, keepdims=True), 1e-6), heat


def _centres(group: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns 1 at the centre of each object, else 0, and the number of steps that the largest object needs."""
    ids = group.ravel()
    places = [place.ravel() for place in jnp.indices(group.shape)]
    count = jax.ops.segment_sum(jnp.ones_like(ids), ids, num_segments=MOST_IDS)
    squared = jnp.zeros(ids.shape)
    extent = jnp.zeros(MOST_IDS, jnp.int32)
    for place in places:
        total = jax.ops.segment_sum(place.astype(jnp.float32), ids, num_segments=MOST_IDS)
        mean = total / jnp.maximum(count, 1)
        squared = squared + jnp.square(place - mean[ids])
        last, first = (
            op(place, ids, num_segments=MOST_IDS)
            for op in (jax.ops.segment_max, jax.ops.segment_min)
        )
        extent = extent + jnp.where(count > 0, last - first + 1, 0)
    least = jax.ops.segment_min(squared, ids, num_segments=MOST_IDS)
    # Of several voxels that are as near, the first one.
    index = jnp.arange(len(ids))
    nearest = jnp.where(squared == least[ids], index, len(ids))
    centre = jax.ops.segment_min(nearest, ids, num_segments=MOST_IDS)
    source = (centre[ids] == index) & (ids > 0)
    return source.reshape(group.shape).astype(jnp.float32), 2 * jnp.max(extent[1:])


def _unit(axis: int, axes: int, step: int) -> tuple[int, ...]:
    return tuple(step if a == axis else 0 for a in range(axes))


def _moved(values: jax.Array, offset: Sequence[int]) -> jax.Array:
    """Returns the value at p + offset for each voxel p; 0 where that is outside of the crop."""
    padded = jnp.pad(values, 1)
    return padded[tuple(slice(1 + o, 1 + o + n) for o, n in zip(offset, values.shape, strict=True))]
