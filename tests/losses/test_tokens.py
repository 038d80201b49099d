from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from emjax.errors import InputError
from emjax.losses.tokens import channel_counts, choose_channels, sample_features

sample = jax.jit(sample_features)


def test_reading_by_hand():
    features = jnp.arange(8.0).reshape(2, 2, 2, 1)  # 4 z + 2 y + x
    points = jnp.array([[0, 0, 0], [1, 1, 1], [0.5, 0, 0], [0.25, 0.5, 0.75]])
    np.testing.assert_allclose(sample(features, points)[:, 0], [0, 7, 2, 2.75], rtol=1e-6)


def test_reading_equals_scipy_inside_and_outside():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4, 5, 6, 3)).astype(np.float32)
    points = rng.uniform(-2, 8, size=(50, 3)).astype(np.float32)
    expected = [
        map_coordinates(features[..., c], points.T, order=1, mode="nearest") for c in range(3)
    ]
    np.testing.assert_allclose(sample(features, points), np.stack(expected, axis=1), atol=1e-5)


def test_reading_at_cells_gives_the_cells_and_a_level_of_one_section_works():
    features = jnp.asarray(np.random.default_rng(1).normal(size=(1, 4, 4, 2)), jnp.float32)
    points = jnp.array([[0.0, y, x] for y in range(4) for x in range(4)])
    np.testing.assert_allclose(sample(features, points), features.reshape(16, 2), rtol=1e-6)


def test_positions_that_are_not_finite_give_finite_features_and_gradients():
    features = jnp.ones((2, 3, 3, 2), jnp.bfloat16)
    points = jnp.array([[jnp.nan, 0, 0], [0, jnp.inf, -jnp.inf]])
    value, gradient = jax.jit(jax.value_and_grad(lambda f: jnp.sum(sample_features(f, points))))(
        features
    )
    assert value == 4 and gradient.dtype == jnp.bfloat16
    assert np.all(np.isfinite(gradient.astype(jnp.float32)))


def test_gradient_is_the_share_of_each_corner():
    gradient = jax.jit(jax.grad(lambda f: sample_features(f, jnp.array([[0.0, 0.25, 1.0]]))[0, 0]))(
        jnp.zeros((1, 2, 2, 1))
    )
    np.testing.assert_allclose(gradient[0, :, :, 0], [[0, 0.75], [0, 0.25]], atol=1e-7)


def test_counts_of_the_paper():
    assert channel_counts([64, 48, 36, 28]) == [6, 9, 10, 11]
    assert channel_counts([128, 64, 32, 16]) == [12, 12, 9, 6]
    assert channel_counts([36, 28], ranks=[3, 4]) == [10, 11]
    assert channel_counts([4, 4], ranks=[1, 12]) == [1, 4]


def test_chosen_channels_are_distinct_vary_with_the_key_and_are_traced():
    draw = jax.jit(lambda key: choose_channels(key, [64, 48, 36, 28]))
    first, again, other = draw(jax.random.key(0)), draw(jax.random.key(0)), draw(jax.random.key(1))
    assert [len(set(c.tolist())) for c in first] == [6, 9, 10, 11]
    assert all(0 <= c.min() and c.max() < n for c, n in zip(first, [64, 48, 36, 28], strict=True))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert any(set(a.tolist()) != set(b.tolist()) for a, b in zip(first, other, strict=True))


def test_one_rank_a_level():
    with pytest.raises(InputError, match="2 ranks for 1 levels"):
        channel_counts([64], ranks=[1, 2])
