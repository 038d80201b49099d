"""Weights of voxels in the losses of a target, made of its labels and values; the names are those of its `weights`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from emjax.losses.balance import class_balance
from emjax.targets.distance import MOST_IDS
from emjax.targets.edge_distance import two_nearest_objects
from emjax.targets.weights import Weights

# (labels `[z, y, x]`, values, mask `[z, y, x, c]`, spacing `[3]`, size) -> extra weight that broadcasts to the values.
WeightMap = Callable[[jax.Array, jax.Array, jax.Array, jax.Array, float], jax.Array]


def weigh(
    weights: Weights,
    labels: jax.Array,
    values: jax.Array,
    mask: jax.Array,
    spacing: jax.Array | Sequence[float] = (1.0, 1.0, 1.0),
) -> jax.Array:
    """Returns the mask of a target, with the weight of each known voxel.

    Args:
        weights: (name, size, strength) of each map; a target's `weights`.
        labels: `[z, y, x]` int32, the objects of one crop, dense ids.
        values: `[z, y, x, c]` of the target.
        mask: the same shape, 0 where the value is not known.
        spacing: (z, y, x) distance between voxels.

    Returns:
        `[z, y, x, c]` float32: the mask times 1 plus the sum of strength times extra over the maps.
    """
    total = jnp.ones((), jnp.float32)
    for name, size, strength in weights:
        made = WEIGHT_MAPS[name](labels, values, mask, jnp.asarray(spacing, jnp.float32), size)
        total = total + strength * made
    return mask * total


def class_ratio(
    labels: jax.Array, values: jax.Array, mask: jax.Array, spacing: jax.Array, size: float
) -> jax.Array:
    """Lets both classes count alike, as `class_balance` does: 0 for the commoner class, up to 18 for the rarer one.

    Source: weights 1 of PyTorch Connectomics.
    """
    del labels, spacing, size
    return class_balance(values[None], mask[None])[0] - 1


def dilated_ratio(
    labels: jax.Array, values: jax.Array, mask: jax.Array, spacing: jax.Array, size: float
) -> jax.Array:
    """Is `class_ratio` of the positives after they are dilated by `size` voxels within their section.

    So negatives beside rare positives, such as contours, count as much as these.

    Source: weights 1-1 of PyTorch Connectomics, whose window of 5 voxels is a size of 2.
    """
    known = jnp.where(mask > 0, values, 0.0)
    window = (1, 2 * int(size) + 1, 2 * int(size) + 1, 1)
    wide = jax.lax.reduce_window(known, -jnp.inf, jax.lax.max, window, (1, 1, 1, 1), "SAME")
    return class_ratio(labels, wide, mask, spacing, size)


def border(
    labels: jax.Array, values: jax.Array, mask: jax.Array, spacing: jax.Array, size: float
) -> jax.Array:
    """Is exp(-(d1 + d2)^2 / (2 size^2)), with the distances to the nearest and the second nearest object.

    A voxel of an object has d1 = 0, so that objects that touch have a border, too; elsewhere only background between
    objects is weighed (our choice). 0 where there are fewer than two objects.

    Source: U-Net, arXiv:1505.04597, equation 2, which has a strength of 10 and a size of 5.
    """
    del values, mask
    first, second = two_nearest_objects(labels, spacing)
    return jnp.exp(-jnp.square(first + second) / (2 * size**2))[..., None]


def small(
    labels: jax.Array, values: jax.Array, mask: jax.Array, spacing: jax.Array, size: float
) -> jax.Array:
    """Is 1 in objects that have fewer than `size` voxels in the crop; those that its border cuts count by their part.

    Source: target 3 of PyTorch Connectomics, the mask of small objects.
    """
    del values, mask, spacing
    inside = labels > 0
    ids = jnp.where(inside, labels, 0)
    counts = jax.ops.segment_sum(
        inside.ravel().astype(jnp.int32), ids.ravel(), num_segments=MOST_IDS
    )
    return (inside & (counts[ids] < size)).astype(jnp.float32)[..., None]


WEIGHT_MAPS: dict[str, WeightMap] = {
    "class_ratio": class_ratio,
    "dilated_ratio": dilated_ratio,
    "border": border,
    "small": small,
}
