"""Voxel-wise reconstruction of a clean crop."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from emjax.errors import InputError

_ERRORS: dict[str, Callable[[jax.Array], jax.Array]] = {"mse": jnp.square, "l1": jnp.abs}


def reconstruction(
    prediction: jax.Array,
    target: jax.Array,
    *,
    kind: str = "mse",
    weights: jax.Array | None = None,
) -> jax.Array:
    """Mean error between a prediction and the clean target.

    Args:
        prediction: any shape, e.g. `[b, z, y, x]` in [0, 1].
        target: the same shape.
        kind: 'mse' (mean of squares, as the paper) or 'l1' (mean of absolute differences).
        weights: of each voxel, broadcastable to the shape of the target; None counts every voxel
            alike. The result is the weighted mean, and 0 where all weights are 0.

    Returns:
        Scalar, float32.

    Raises:
        InputError: `kind` is unknown, or the shapes differ.

    Source: L_rec of arXiv:2308.09917; the weights are our choice.
    """
    if kind not in _ERRORS:
        raise InputError(
            f"loss.kind={kind!r} is no reconstruction loss; use {' or '.join(_ERRORS)}"
        )
    if prediction.shape != target.shape:
        # Broadcasting [b, z, y, x, 1] against [b, z, y, x] would train on nonsense without a word.
        raise InputError(
            f"prediction {prediction.shape} and target {target.shape} must have the same shape"
        )
    errors = _ERRORS[kind](prediction.astype(jnp.float32) - target.astype(jnp.float32))
    if weights is None:
        return jnp.mean(errors)
    weights = jnp.broadcast_to(weights.astype(jnp.float32), errors.shape)
    # Where, not a product alone: a voxel of weight 0 may hold anything.
    errors = jnp.where(weights > 0, errors, 0.0)
    return jnp.sum(weights * errors) / jnp.maximum(jnp.sum(weights), 1e-6)
