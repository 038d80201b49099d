"""Guided backpropagation and Grad-CAM, which look into the network.

Sources: "Striving for Simplicity: The All Convolutional Net" (arXiv:1412.6806); "Grad-CAM: Visual Explanations from
Deep Networks via Gradient-based Localization" (arXiv:1610.02391). Guided backpropagation shows edges of the input
also where the weights are random ("Sanity Checks for Saliency Maps", arXiv:1810.03292): it is a picture, not a
measure.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from emjax.attribution.gradients import gradient
from emjax.attribution.score import Score

Activation = Callable[[jax.Array], jax.Array]
# Input, and what is added to the features of one layer -> scores `[b]`, and those features `[b, ..., k]`.
Tapped = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def guide(activation: Activation) -> Activation:
    """Returns an activation that has the same values, and lets only positive derivatives pass backwards.

    Args:
        activation: of single numbers, such as `jax.nn.relu`.
    """

    @jax.custom_vjp
    def guided(x: jax.Array) -> jax.Array:
        return activation(x)

    def forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return activation(x), x

    def backward(x: jax.Array, slope: jax.Array) -> tuple[jax.Array]:
        _, pull = jax.vjp(activation, x)
        return pull(jnp.maximum(slope, 0))

    guided.defvjp(forward, backward)
    return guided


def guided_backpropagation(
    score_with: Callable[[Callable[[Activation], Activation]], Score], x: jax.Array
) -> jax.Array:
    """Returns the gradient that passes through positive derivatives alone.

    Args:
        score_with: makes the score of a network, given what each of its activations is to be replaced by.
        x: `[b, z, y, x, 1]`.

    Returns:
        The shape of `x`.
    """
    return gradient(score_with(guide), x)


def grad_cam(tapped: Tapped, x: jax.Array) -> jax.Array:
    """Returns where the features that a score grows with are found: `relu(sum_k a_k F_k)`, a_k the mean of dS/dF_k.

    A map of places: features of a deep layer no longer belong to one section of the input, so no shares of sections
    may be taken of it.

    Args:
        tapped: the network with one layer laid open; the scores must not depend on other inputs of the batch.
        x: `[b, z, y, x, 1]`.

    Returns:
        `[b, ...]`, on the grid of the layer.
    """
    shape = jax.eval_shape(lambda given: tapped(given, jnp.zeros(()))[1], x)

    def total(added: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores, features = tapped(x, added)
        return scores.sum(), features

    slope, features = jax.grad(total, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))
    space = tuple(range(1, len(shape.shape) - 1))
    weights = slope.mean(space, keepdims=True)
    return jnp.maximum((weights * features).sum(-1), 0)
