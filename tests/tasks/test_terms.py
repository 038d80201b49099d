from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from emjax.tasks.terms import combine_terms

FEATURES = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0])}
HEADS = {"w": jnp.array(0.5)}
TERMS = {
    "first": lambda f, h: jnp.sum(f["a"] ** 2) / 2,  # gradient (1, 2 | 0), norm sqrt 5
    "second": lambda f, h: h["w"] * f["b"][0],  # gradient (0, 0 | 0.5), norm 0.5; head 3
}
WEIGHTS = {"first": 2.0, "second": 0.1}


def _direct(features, heads):
    return sum(WEIGHTS[n] * t(features, heads) for n, t in TERMS.items())


def test_value_and_gradient_equal_the_plain_weighted_sum():
    def combined(features, heads):
        return combine_terms(TERMS, WEIGHTS, features, heads, "fixed")[0]

    value, gradient = jax.value_and_grad(combined, (0, 1))(FEATURES, HEADS)
    expected, expected_gradient = jax.value_and_grad(_direct, (0, 1))(FEATURES, HEADS)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(
        lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-6), gradient, expected_gradient
    )


def test_shares_by_hand():
    _, metrics = combine_terms(TERMS, WEIGHTS, FEATURES, HEADS, "fixed")
    first, second = 2.0 * np.sqrt(5.0), 0.1 * 0.5
    np.testing.assert_allclose(
        metrics["gradient_share/second"], second / (first + second), rtol=1e-6
    )
    np.testing.assert_allclose(metrics["loss/second"], 1.5, rtol=1e-6)


def test_balanced_weights_make_the_gradient_ratio_that_was_asked_for():
    _, metrics = combine_terms(TERMS, WEIGHTS, FEATURES, HEADS, "gradient")
    # The second term pulls 0.1 times as hard as the first.
    np.testing.assert_allclose(metrics["gradient_share/second"], 0.1 / 1.1, rtol=1e-5)
    np.testing.assert_allclose(metrics["weight/first"], 2.0)


def test_a_term_without_gradient_stays_finite_under_balancing():
    terms = TERMS | {"second": lambda f, h: jnp.float32(0.0)}
    value, metrics = combine_terms(terms, WEIGHTS, FEATURES, HEADS, "gradient")
    assert np.isfinite(value)
    np.testing.assert_allclose(metrics["gradient_share/second"], 0.0)
