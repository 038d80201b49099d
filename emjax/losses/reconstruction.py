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
) -> jax.Array:
    """Returns the mean error between a prediction and the clean target.

    Args:
        prediction: any shape, e.g. `[b, z, y, x]` in [0, 1].
        target: the same shape.
        kind: 'mse' (mean of squares, as the paper) or 'l1' (mean of absolute differences).

    Returns:
        Scalar, float32.

    Raises:
        InputError: if `kind` is unknown, or the shapes differ.

    Source: L_rec of arXiv:2308.09917.
    """
    if kind not in _ERRORS:
        raise InputError(
            f"loss.kind={kind!r} is no reconstruction loss; use {' or '.join(_ERRORS)}"
        )
    if prediction.shape != target.shape:
        # Broadcasting [b, z, y, x, 1] against [b, z, y, x] would silently train on nonsense.
        raise InputError(
            f"prediction {prediction.shape} and target {target.shape} must have the same shape"
        )
    errors = _ERRORS[kind](prediction.astype(jnp.float32) - target.astype(jnp.float32))
    return jnp.mean(errors)
