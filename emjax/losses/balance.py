"""Voxel weights that let both classes of a binary target count alike."""

from __future__ import annotations

import jax
import jax.numpy as jnp

# The rarer class weighs at most (1 - 0.05) / 0.05 = 19 times the other one.
_LEAST_SHARE = 0.05


def class_balance(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the weight of each voxel: the rarer class of its crop and channel counts as much as the other.

    With r the share of positives among the known voxels of a crop and channel, clipped to [0.05,
    0.95]: the commoner class weighs 1, the rarer one max(r, 1 - r) / min(r, 1 - r), at most 19. A
    crop of one class has weights of 1. Values between 0 and 1 mix the two weights.

    Args:
        values: `[b, ..., c]` in [0, 1].
        mask: the same shape, 0 where the value is not known.

    Returns:
        The same shape, float32; 1 where nothing is known of a crop and channel. Not masked.

    Source: the weights of the code of arXiv:2308.09917, which clips to [0.05, 0.99], so that
    negatives weigh up to 99 and positives 19; clipping alike on both sides is our choice, and what
    version 1 of PyTorch Connectomics does.
    """
    values, mask = values.astype(jnp.float32), mask.astype(jnp.float32)
    axes = tuple(range(1, values.ndim - 1))
    known = jnp.sum(mask, axes, keepdims=True)
    positive = jnp.sum(jnp.where(mask > 0, mask * values, 0.0), axes, keepdims=True)
    share = jnp.where(known > 0, positive / jnp.maximum(known, 1e-6), 0.5)
    share = jnp.clip(share, _LEAST_SHARE, 1 - _LEAST_SHARE)
    of_positives = jnp.maximum((1 - share) / share, 1.0)
    of_negatives = jnp.maximum(share / (1 - share), 1.0)
    return of_negatives + values * (of_positives - of_negatives)
