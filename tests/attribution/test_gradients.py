"""Maps of networks whose derivatives are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.attribution.gradients import (
    gradient,
    input_times_gradient,
    integrated_gradients,
    smooth_gradient,
)
from emjax.attribution.score import make_score, region_of
from emjax.errors import InputError

SHAPE = (2, 3, 4, 5, 1)
RNG = np.random.default_rng(0)
WEIGHTS = jnp.asarray(RNG.normal(size=SHAPE[1:]), jnp.float32)
X = jnp.asarray(RNG.normal(size=SHAPE), jnp.float32)


def linear(x: jax.Array) -> jax.Array:
    return (x * WEIGHTS).sum((1, 2, 3, 4)) + 7


def quadratic(x: jax.Array) -> jax.Array:
    return ((x**2) * WEIGHTS).sum((1, 2, 3, 4))


def test_the_gradient_of_a_linear_score_is_its_weights():
    np.testing.assert_allclose(gradient(linear, X), jnp.broadcast_to(jnp.abs(WEIGHTS), SHAPE))
    found = input_times_gradient(linear, X, baseline=0.5)
    np.testing.assert_allclose(found, (X - 0.5) * WEIGHTS, rtol=1e-6)


def test_integrated_gradients_add_up():
    exact = integrated_gradients(linear, X, baseline=0.25, num_steps=2)
    np.testing.assert_allclose(exact.attribution, (X - 0.25) * WEIGHTS, rtol=1e-5, atol=1e-6)
    assert (exact.gap < 1e-5).all()
    # Of a polynomial of degree two the midpoints are exact, and the map is (x^2 - x0^2) w.
    curved = integrated_gradients(quadratic, X, baseline=0.25, num_steps=3)
    np.testing.assert_allclose(curved.attribution, (X**2 - 0.0625) * WEIGHTS, rtol=1e-4, atol=1e-5)
    assert (curved.gap < 1e-4).all()


def test_too_few_steps_show_in_the_gap():
    steep = lambda x: jax.nn.sigmoid(40 * (x - 0.3)).sum((1, 2, 3, 4))  # noqa: E731
    x = jnp.ones((1, 1, 1, 1, 1))
    assert integrated_gradients(steep, x, num_steps=2).gap[0] > 0.01
    assert integrated_gradients(steep, x, num_steps=200).gap[0] < 0.01


def test_smooth_gradient_without_noise_is_the_gradient():
    still = smooth_gradient(quadratic, X, jax.random.key(0), sigma=0, num_copies=3)
    np.testing.assert_allclose(still, gradient(quadratic, X), rtol=1e-6)
    # |2 (x + noise) w| at x = 0: the noise alone, whose mean size is sqrt(2 / pi) of its sigma.
    one = jnp.zeros((1, 1, 40, 40, 1)).at[0, 0, 0, 0, 0].set(1.0)
    noisy = smooth_gradient(
        lambda x: (x**2).sum((1, 2, 3, 4)), one, jax.random.key(1), sigma=0.1, num_copies=25
    )
    np.testing.assert_allclose(noisy[0, 0, 1:].mean(), 0.2 * np.sqrt(2 / np.pi), rtol=0.03)


def test_a_score_adds_up_one_channel_over_its_region():
    labels = np.zeros(SHAPE[:4], int)
    labels[:, 1, 2, 3], labels[:, 0, 0, 0] = 5, -1
    forward = lambda x: jnp.concatenate([x, 10 * x], -1)  # noqa: E731
    score = make_score(forward, region_of(labels, "foreground"), 1)
    np.testing.assert_allclose(score(X), 10 * X[:, 1, 2, 3, 0])
    assert region_of(labels, "background").sum() == 2 * (60 - 2)
    assert region_of(labels, "all").sum() == 2 * (60 - 1)
    assert region_of(labels, "all", section=0).sum() == 2 * (20 - 1)
    with pytest.raises(InputError, match="no foreground voxel"):
        region_of(labels, "foreground", section=2)
    with pytest.raises(InputError, match="'edges' is unknown"):
        region_of(labels, "edges")
