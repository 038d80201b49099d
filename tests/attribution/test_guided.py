"""Guided backpropagation and Grad-CAM on networks of a few numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from emjax.attribution.guided import grad_cam, guide, guided_backpropagation


def test_by_hand():
    # S = relu(2 x0 - x1) - relu(x0): the second way comes back with a negative derivative, and is stopped.
    def score_with(replace):
        relu = replace(jax.nn.relu)
        return lambda x: (relu(2 * x[:, 0] - x[:, 1]) - relu(x[:, 0]))[:, 0, 0, 0]

    x = jnp.asarray([3.0, 1.0]).reshape(1, 2, 1, 1, 1)
    assert guided_backpropagation(score_with, x).ravel().tolist() == [2, 1]
    plain = jax.grad(lambda x: score_with(lambda f: f)(x).sum())(x)
    assert plain.ravel().tolist() == [1, -1]


def test_a_guided_activation_has_the_same_values():
    x = jnp.linspace(-2, 2, 9)
    for activation in (jax.nn.relu, jax.nn.elu):
        np.testing.assert_array_equal(guide(activation)(x), activation(x))
        both = lambda f: jax.vjp(f, x)[1](jnp.where(x > 1, -1.0, 1.0))[0]  # noqa: B023, E731
        expected = np.where(x > 1, 0, both(activation))
        np.testing.assert_allclose(both(guide(activation)), expected)


def test_grad_cam_by_hand():
    # Two features: the input and its negative; the score grows with the first, twice as fast falls with the second.
    def tapped(x, added):
        features = jnp.concatenate([x, -x], axis=-1) + added
        return (features[..., 0] - 2 * features[..., 1]).sum((1, 2, 3)), features

    x = jnp.asarray([-1.0, 0.0, 2.0]).reshape(1, 1, 1, 3, 1)
    # a = (1, -2): relu(x + 2 x).
    np.testing.assert_allclose(grad_cam(tapped, x).ravel(), [0, 0, 6])
    assert grad_cam(tapped, x).shape == (1, 1, 1, 3)
