"""Widening: background between objects that touch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from emjax.targets.labels import IGNORE, check_labels


def widen(labels: jax.Array) -> jax.Array:
    """Turns voxels into background if their 3x3 window contains two ids.

    Windows lie within a section and end at the border of the crop. Background and `IGNORE` do not count as
    ids, and ignored voxels stay ignored.

    Args:
        labels: `[z, y, x]` int32.

    Returns:
        `[z, y, x]` int32.

    Raises:
        InputError: if the labels are not those of one crop.

    Source: the border widening of the code released with arXiv:2308.09917, for neuron labels.
    """
    check_labels(labels)
    largest = jnp.iinfo(labels.dtype).max
    window, steps = (1, 3, 3), (1, 1, 1)
    most = jax.lax.reduce_window(labels, jnp.int32(IGNORE), jax.lax.max, window, steps, "SAME")
    ids = jnp.where(labels > 0, labels, largest)
    least = jax.lax.reduce_window(ids, jnp.int32(largest), jax.lax.min, window, steps, "SAME")
    return jnp.where((least < most) & (labels > 0), 0, labels)
