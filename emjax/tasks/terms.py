"""Combines several losses on shared features: their weighted sum, and each one's share of the gradient there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

Tree = Any
Term = Callable[[Tree, Tree], jax.Array]


def combine_terms(
    terms: Mapping[str, Term],
    weights: Mapping[str, float],
    features: Tree,
    heads: Tree,
    balance: str,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Sums weighted losses, and measures how much each of them moves the shared features.

    A loss curve does not show that one term drowns another; the norm of each term's gradient at the features does. Each
    term is differentiated once, down to the features; there the gradients are compared, weighted and summed, and only
    their sum goes back through the network, so that measuring costs nothing beyond the heads.

    Args:
        terms: name -> loss as a function of (features, heads), a float32 scalar.
        weights: name -> weight. With `balance='gradient'`, the desired ratio of the term's gradient norm to that of the
            first term, whose weight is used as it is.
        features: output of the network that all terms share.
        heads: parameters that only the terms use.
        balance: 'fixed' or 'gradient'.

    Returns:
        The scalar loss, whose gradient is exact for both features and heads (factors found by 'gradient' count as
        constants), and metrics `loss/<term>`, `gradient_share/<term>` (they sum to 1) and `weight/<term>`.
    """
    values, gradients = {}, {}
    fixed_features = jax.lax.stop_gradient(features)
    fixed_heads = jax.lax.stop_gradient(heads)
    for name, term in terms.items():
        values[name], gradients[name] = jax.value_and_grad(term, argnums=(0, 1))(
            fixed_features, fixed_heads
        )
    norms = {name: _norm(gradient[0]) for name, gradient in gradients.items()}
    factors = _factors(weights, norms, balance)

    total = sum(factors[name] * values[name] for name in terms)
    slope = jax.tree.map(
        lambda *parts: sum(f * p for f, p in zip(factors.values(), parts, strict=True)),
        *gradients.values(),
    )
    # A linear function with the desired slope at this point; its value is replaced by that of the loss.
    linear = _inner((features, heads), slope)
    loss = linear + jax.lax.stop_gradient(total - linear)

    pulls = {name: factors[name] * norms[name] for name in terms}
    whole = jnp.maximum(sum(pulls.values()), 1e-30)
    metrics = {f"loss/{name}": value for name, value in values.items()}
    metrics |= {f"gradient_share/{name}": pull / whole for name, pull in pulls.items()}
    metrics |= {f"weight/{name}": jnp.asarray(factors[name], jnp.float32) for name in terms}
    return loss, metrics


def _factors(
    weights: Mapping[str, float], norms: Mapping[str, jax.Array], balance: str
) -> dict[str, jax.Array]:
    if balance == "fixed":
        return {name: jnp.float32(weights[name]) for name in norms}
    lead = next(iter(norms))
    return {
        name: jnp.float32(weights[name])
        if name == lead
        else weights[name] * weights[lead] * norms[lead] / jnp.maximum(norm, 1e-12)
        for name, norm in norms.items()
    }


def _norm(tree: Tree) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)))


def _inner(tree: Tree, slope: Tree) -> jax.Array:
    parts = jax.tree.map(
        lambda x, s: jnp.sum(x.astype(jnp.float32) * jax.lax.stop_gradient(s).astype(jnp.float32)),
        tree,
        slope,
    )
    return jax.tree.reduce(jnp.add, parts)
