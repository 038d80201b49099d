"""Widening of the borders between objects that touch, by background."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from emjax.targets.labels import IGNORE, check_labels


def widen(labels: jax.Array) -> jax.Array:
    """Makes background of the voxels whose 3x3 window holds two ids.

    Windows lie within a section and end at the border of the crop. Background and `IGNORE` in a
    window do not count as ids, and ignored voxels stay so.

    Args:
        labels: `[z, y, x]` int32.

    Returns:
        `[z, y, x]` int32.

    Raises:
        InputError: labels are no crop.

    Source: the border widening of the code released with arXiv:2308.09917, for neuron labels.
    """
    check_labels(labels)
    largest = jnp.iinfo(labels.dtype).max
    window, steps = (1, 3, 3), (1, 1, 1)
    most = jax.lax.reduce_window(labels, jnp.int32(IGNORE), jax.lax.max, window, steps, "SAME")
    ids = jnp.where(labels > 0, labels, largest)
    least = jax.lax.reduce_window(ids, jnp.int32(largest), jax.lax.min, window, steps, "SAME")
    return jnp.where((least < most) & (labels > 0), 0, labels)
