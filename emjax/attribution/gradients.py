"""Maps by derivatives of a score with respect to its input.

Sources: gradient after "Deep Inside Convolutional Networks" (arXiv:1312.6034); input x gradient after "Not Just a
Black Box" (arXiv:1605.01713); integrated gradients after "Axiomatic Attribution for Deep Networks"
(arXiv:1703.01365); SmoothGrad after "SmoothGrad: removing noise by adding noise" (arXiv:1706.03825).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from emjax.attribution.score import Score


def slopes(score: Score, x: jax.Array) -> jax.Array:
    """Returns the derivative of each score with respect to its input.

    Args:
        score: `[b, z, y, x, 1]` -> `[b]`.
        x: `[b, z, y, x, 1]`.

    Returns:
        The shape of `x`.
    """
    # Scores do not depend on each other's inputs, so the sum has the derivatives of all.
    return jax.grad(lambda given: score(given).sum())(x)


def gradient(score: Score, x: jax.Array) -> jax.Array:
    """Returns how much a score changes with each voxel, whichever way: `|dS/dx|`; arguments as of `slopes`."""
    return jnp.abs(slopes(score, x))


def input_times_gradient(score: Score, x: jax.Array, baseline: float = 0.0) -> jax.Array:
    """Returns what each voxel adds to a score that is linear around it: `(x - x0) dS/dx`.

    Args:
        score: `[b, z, y, x, 1]` -> `[b]`.
        x: `[b, z, y, x, 1]`.
        baseline: x0, the grey that stands for nothing to be seen; 0 where inputs have mean 0.
    """
    return (x - baseline) * slopes(score, x)


class IntegratedGradients(NamedTuple):
    """A map and how well it adds up.

    Attributes:
        attribution: `[b, z, y, x, 1]`; its sum is the score less that of the baseline.
        gap: `[b]`, by how much it is not, relative to that difference; above 0.01 there were too few steps.
    """

    attribution: jax.Array
    gap: jax.Array


def integrated_gradients(
    score: Score, x: jax.Array, baseline: float = 0.0, num_steps: int = 50
) -> IntegratedGradients:
    """Adds up what each voxel contributes on the straight way from grey to the input.

    Args:
        score: `[b, z, y, x, 1]` -> `[b]`.
        x: `[b, z, y, x, 1]`.
        baseline: x0, the grey that stands for nothing to be seen.
        num_steps: midpoints on the way, one gradient each.
    """
    start = jnp.full_like(x, baseline)
    step = x - start
    places = (jnp.arange(num_steps, dtype=x.dtype) + 0.5) / num_steps
    # One after the other: fifty at once would not fit into memory.
    total, _ = jax.lax.scan(
        lambda sum_, place: (sum_ + slopes(score, start + place * step), None),
        jnp.zeros_like(x),
        places,
    )
    attribution = step * total / num_steps
    difference = score(x) - score(start)
    gap = jnp.abs(attribution.sum((1, 2, 3, 4)) - difference)
    return IntegratedGradients(attribution, gap / jnp.maximum(jnp.abs(difference), 1e-12))


def smooth_gradient(
    score: Score, x: jax.Array, key: jax.Array, sigma: float = 0.1, num_copies: int = 25
) -> jax.Array:
    """Averages the gradient over noisy copies of the input.

    Args:
        score: `[b, z, y, x, 1]` -> `[b]`.
        x: `[b, z, y, x, 1]`.
        key: typed PRNG key.
        sigma: of the normal noise, as a part of each input's range (0.1 to 0.15 is usual); 0 gives `gradient`.
        num_copies: noisy copies.

    Returns:
        The shape of `x`.
    """
    extent = x.max((1, 2, 3, 4), keepdims=True) - x.min((1, 2, 3, 4), keepdims=True)

    def one(sum_: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        noise = sigma * extent * jax.random.normal(key, x.shape, x.dtype)
        return sum_ + gradient(score, x + noise), None

    total, _ = jax.lax.scan(one, jnp.zeros_like(x), jax.random.split(key, num_copies))
    return total / num_copies
