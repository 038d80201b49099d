from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.models.build import apply, init_params
from emjax.models.matcher import Matcher, TokenProjection


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _linear(size):
    return {"kernel": jnp.eye(size), "bias": jnp.zeros(size)}


def test_attention_by_hand():
    params = {name: _linear(2) for name in ("query", "key", "value", "out")}
    queries, keys = jnp.array([[[2.0, 0.0]]]), jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
    values, attention = apply(Matcher(2, 1, normalize=False), params, queries, keys)
    first = 1 / (1 + np.exp(-np.sqrt(2)))
    np.testing.assert_allclose(attention, [[[first, 1 - first]]], rtol=1e-5)
    np.testing.assert_allclose(values, [[[first, 1 - first]]], rtol=1e-5)


def test_order_of_the_keys_does_not_matter():
    queries, keys = _normal(2, 5, 6), _normal(2, 7, 6, seed=1)
    matcher = Matcher(8, 4)
    params = init_params(matcher, jax.random.key(0), queries, keys)
    order = np.random.default_rng(2).permutation(7)
    values, attention = apply(matcher, params, queries, keys)
    again, moved = apply(matcher, params, queries, keys[:, order])
    assert values.shape == (2, 5, 6) and attention.shape == (2, 5, 7)
    np.testing.assert_allclose(attention.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(again, values, atol=1e-5)
    np.testing.assert_allclose(moved, attention[..., order], atol=1e-5)


def test_same_parameters_serve_both_directions():
    first, second = _normal(1, 3, 4), _normal(1, 5, 4, seed=1)
    matcher = Matcher(4, 2)
    there, back = (
        init_params(matcher, jax.random.key(0), *pair)
        for pair in ((first, second), (second, first))
    )
    jax.tree.map(np.testing.assert_array_equal, there, back)


def test_size_zero_is_that_of_the_tokens():
    tokens = _normal(1, 3, 8).astype(jnp.bfloat16)
    matcher = Matcher(0, 4)
    params = init_params(matcher, jax.random.key(0), tokens, tokens)
    assert params["query"]["kernel"].shape == (8, 8)
    values, attention = apply(matcher, params, tokens, tokens)
    assert values.dtype == attention.dtype == jnp.float32


def test_projection_is_one_linear_map_a_level():
    features = [_normal(2, 3, 4), _normal(2, 5, 6, seed=1)]
    projection = TokenProjection(7)
    params = init_params(projection, jax.random.key(0), features)
    for k, tokens in enumerate(apply(projection, params, features)):
        kernel = np.asarray(params[f"level{k}"]["kernel"])
        np.testing.assert_allclose(tokens, features[k] @ kernel, atol=1e-5)


def test_projection_of_size_zero_is_the_identity():
    features = [_normal(2, 3, 4)]
    assert init_params(TokenProjection(0), jax.random.key(0), features) == {}
    np.testing.assert_array_equal(apply(TokenProjection(0), {}, features)[0], features[0])


def test_heads_that_do_not_divide():
    with pytest.raises(TypeError, match="reshape"):
        init_params(Matcher(6, 4), jax.random.key(0), _normal(1, 2, 6), _normal(1, 2, 6))
