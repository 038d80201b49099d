"""Losses of predictions at every voxel, from logits, with a mask of the known voxels.

Each takes logits, values and mask, `[b, ..., c]`, and returns a float32 scalar: the mean over all
known voxels and channels of the global batch. A voxel of mask 0 may hold anything, NaN included;
where the mask is 0 everywhere, the loss and its gradient are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.losses.balance import class_balance

DenseLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

# Functions from logits to the range of a target's values; softmax is over the channels.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "softmax": jax.nn.softmax,
}

_FOCUS = 2.0
# Keeps dice defined where both prediction and target are empty; in voxels.
_SMOOTH = 1.0


def bce(logits: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
    """Binary cross-entropy of the sigmoid; values may lie between 0 and 1."""
    logits, values, mask = _prepared(logits, values, mask)
    return _mean(_bce(logits, values), mask)


def balanced_bce(logits: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
    """Binary cross-entropy with `class_balance` weights for each crop and channel.

    The sum is divided by the number of known voxels, not by the sum of weights; the mean weight is
    between 1 and 2, so that crops of any balance count about alike.
    """
    logits, values, mask = _prepared(logits, values, mask)
    return _mean(class_balance(values, mask) * _bce(logits, values), mask)


def focal(logits: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
    """Binary cross-entropy times (error of the sigmoid)^2, so that correct voxels hardly count.

    Source: focal loss, arXiv:1708.02002, gamma 2, no alpha; in the form of arXiv:2006.04388, which
    is the same for values of 0 and 1 and is defined between them too.
    """
    logits, values, mask = _prepared(logits, values, mask)
    error = jnp.abs(values - jax.nn.sigmoid(logits))
    return _mean(error**_FOCUS * _bce(logits, values), mask)


def dice(
    logits: jax.Array, values: jax.Array, mask: jax.Array, *, activation: str = "sigmoid"
) -> jax.Array:
    """Soft dice, 1 - (2 sum(p v) + 1) / (sum(p) + sum(v) + 1), mean over channels.

    Sums run over the global batch, so that a crop without foreground needs no special case. Channels
    without known voxels are left out.

    Source: arXiv:1606.04797, with plain sums in the denominator.
    """
    logits, values, mask = _prepared(logits, values, mask)
    predictions = _activated(logits, activation)
    axes = tuple(range(values.ndim - 1))
    both = jnp.sum(mask * predictions * values, axes)
    either = jnp.sum(mask * (predictions + values), axes)
    losses = 1 - (2 * both + _SMOOTH) / (either + _SMOOTH)
    return _mean(losses, jnp.any(mask > 0, axes).astype(jnp.float32))


def mse(
    logits: jax.Array, values: jax.Array, mask: jax.Array, *, activation: str = "sigmoid"
) -> jax.Array:
    """Mean squared error of the activated logits."""
    logits, values, mask = _prepared(logits, values, mask)
    return _mean(jnp.square(_activated(logits, activation) - values), mask)


def l1(
    logits: jax.Array, values: jax.Array, mask: jax.Array, *, activation: str = "sigmoid"
) -> jax.Array:
    """Mean absolute error of the activated logits."""
    logits, values, mask = _prepared(logits, values, mask)
    return _mean(jnp.abs(_activated(logits, activation) - values), mask)


def cross_entropy(logits: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
    """Cross-entropy of the softmax over channels; a voxel counts where all its channels are known."""
    known = jnp.all(mask > 0, axis=-1, keepdims=True)
    logits, values, mask = _prepared(logits, values, jnp.where(known, mask, 0))
    losses = -jnp.sum(values * jax.nn.log_softmax(logits, axis=-1), axis=-1)
    return _mean(losses, jnp.min(mask, axis=-1))


DENSE_LOSSES: dict[str, DenseLoss] = {
    "bce": bce,
    "balanced_bce": balanced_bce,
    "focal": focal,
    "dice": dice,
    "mse": mse,
    "l1": l1,
    "cross_entropy": cross_entropy,
}

# These compare values; the others are cross-entropies with an activation of their own.
_COMPARE_VALUES = ("dice", "mse", "l1")


def weighted_loss(
    losses: Sequence[tuple[str, float]],
    logits: jax.Array,
    values: jax.Array,
    mask: jax.Array,
    activation: str = "sigmoid",
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Sums the losses of one target.

    Args:
        losses: (name, weight) of each loss; a target's `losses`.
        logits: `[b, ..., c]` of that target's channels.
        values: the same shape.
        mask: the same shape, 0 where the value is not known.
        activation: applied to the logits before dice, mse and l1; a target's `activation`.

    Returns:
        The weighted sum, and each loss by name before weighting; float32 scalars.

    Raises:
        InputError: if a loss or activation is unknown, or shapes differ.
    """
    total, terms = jnp.zeros((), jnp.float32), {}
    for name, weight in losses:
        if name not in DENSE_LOSSES:
            raise InputError(f"unknown loss '{name}'; use one of {', '.join(DENSE_LOSSES)}")
        options = {"activation": activation} if name in _COMPARE_VALUES else {}
        terms[name] = DENSE_LOSSES[name](logits, values, mask, **options)
        total = total + weight * terms[name]
    return total, terms


def _prepared(
    logits: jax.Array, values: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the arrays in float32, and 0 where masked: 0 times NaN would be NaN in a gradient."""
    if not logits.shape == values.shape == mask.shape:
        raise InputError(
            f"logits {logits.shape}, values {values.shape} and mask {mask.shape} must have the "
            "same shape, [b, ..., c]"
        )
    mask = mask.astype(jnp.float32)
    known = mask > 0
    logits = jnp.where(known, logits.astype(jnp.float32), 0.0)
    return logits, jnp.where(known, values.astype(jnp.float32), 0.0), mask


def _activated(logits: jax.Array, activation: str) -> jax.Array:
    if activation not in ACTIVATIONS:
        raise InputError(f"unknown activation '{activation}'; use {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[activation](logits)


def _bce(logits: jax.Array, values: jax.Array) -> jax.Array:
    # log(1 + exp(z)) - z v, in a form that cannot overflow.
    return jax.nn.softplus(logits) - logits * values


def _mean(losses: jax.Array, mask: jax.Array) -> jax.Array:
    return jnp.sum(mask * losses) / jnp.maximum(jnp.sum(mask), 1e-6)
