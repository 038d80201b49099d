from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.losses.reconstruction import reconstruction


def test_by_hand():
    prediction, target = jnp.array([[0.0, 1.0, 3.0]]), jnp.zeros((1, 3))
    np.testing.assert_allclose(reconstruction(prediction, target), 10 / 3, rtol=1e-6)
    np.testing.assert_allclose(reconstruction(prediction, target, kind="l1"), 4 / 3, rtol=1e-6)


def test_mean_over_both_views_is_the_mean_of_the_views():
    views = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 3, 4)), jnp.float32)
    target = jnp.full((2, 3, 4), 0.5)
    halves = [reconstruction(views[i], target[i]) for i in range(2)]
    np.testing.assert_allclose(reconstruction(views, target), sum(halves) / 2, rtol=1e-6)


def test_float32_whatever_comes_in():
    assert reconstruction(jnp.ones(4, jnp.bfloat16), jnp.zeros(4)).dtype == jnp.float32


def test_mistakes_are_named():
    with pytest.raises(InputError, match="'l2'.*mse or l1"):
        reconstruction(jnp.zeros(2), jnp.zeros(2), kind="l2")
    with pytest.raises(InputError, match="same shape"):
        reconstruction(jnp.zeros((2, 1)), jnp.zeros(2))
