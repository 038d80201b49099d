"""Fixed statistics of normalization: a running average over the first part of a training, fixed in the last part.

A network with such statistics (`model.norm` 'running' or 'calibrated') normalizes by those of the batch while it
follows them. In the last part of the steps (`optimizer.fixed_statistics`) it is trained as it predicts,
with the fixed ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from emjax.models.normalization import FIXED, STATISTICS
from emjax.tasks.task import Params, Task

# Share of a new batch in the running average, once there were as many batches as its inverse (our choice).
RATE = 0.02


def has_fixed(task: Task) -> bool:
    """Whether the task's network predicts with fixed statistics."""
    backbone = getattr(task, "backbone", None)
    return any(getattr(backbone, field, "") in FIXED for field in ("norm", "decoder_norm"))


def learning(task: Task) -> Task:
    """Returns the task with a network that normalizes by the statistics of its input, and follows them."""
    assert has_fixed(task)
    either: Any = task
    return dataclasses.replace(either, backbone=either.backbone.clone(learning=True))


def without(gradient: Params) -> Params:
    """Returns the gradient of the weights alone: 0 at the statistics, whose differences from the batch are none."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.zeros_like(leaf) if _is_statistic(path) else leaf, gradient
    )


def followed(params: Params, before: Params, gradient: Params, count: jax.Array) -> Params:
    """Returns the parameters with the statistics moved towards those of the batch.

    Args:
        params: parameters after the optimizer's update.
        before: parameters before it.
        gradient: gradient of the parameters; at the statistics, their difference from those of the batch.
        count: number of steps before, scalar; the first ones are averaged with equal weights.
    """
    rate = jnp.maximum(RATE, 1.0 / (1.0 + count))

    def move(path: tuple[Any, ...], new: jax.Array, old: jax.Array, drift: jax.Array) -> jax.Array:
        return old - rate * drift if _is_statistic(path) else new

    return jax.tree_util.tree_map_with_path(move, params, before, gradient)


def _is_statistic(path: tuple[Any, ...]) -> bool:
    return getattr(path[-1], "key", None) in STATISTICS
