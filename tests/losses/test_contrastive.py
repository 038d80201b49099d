from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from emjax.errors import InputError
from emjax.losses import contrastive

# Compiled as a whole: op by op, each first call compiles dozens of kernels.
nce = jax.jit(contrastive.nce, static_argnames=("temperature", "row_chunk"))
released_nce = jax.jit(contrastive.released_nce, static_argnames="temperature")


def _tokens(count: int, size: int = 8, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    numbers = np.random.default_rng(seed).normal(size=(2, count, size))
    return jnp.asarray(numbers[0], jnp.float32), jnp.asarray(numbers[1], jnp.float32)


def _slow(queries, keys, temperature, weights, group) -> float:
    """The definition, one query and one candidate at a time."""
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    keys = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    total = 0.0
    for i in range(len(queries)):
        if weights[i] == 0:
            continue
        candidates = [
            j for j in range(len(keys)) if j == i or (weights[j] > 0 and group[j] != group[i])
        ]
        scores = [np.exp(queries[i] @ keys[j] / temperature) for j in candidates]
        total -= weights[i] * np.log(np.exp(queries[i] @ keys[i] / temperature) / sum(scores))
    return total / weights.sum()


def test_two_pairs_by_hand():
    queries, keys = jnp.eye(2), jnp.array([[1.0, 0.0], [1.0, 1.0]])
    # Cosines: row 0 (1, r), row 1 (0, r) with r = 1 / sqrt 2.
    r = 1 / np.sqrt(2)
    expected = np.mean([np.log1p(np.exp(r - 1)), np.log1p(np.exp(0 - r))])
    np.testing.assert_allclose(nce(queries, keys, temperature=1.0), expected, rtol=1e-6)


@pytest.mark.parametrize("row_chunk", [0, 5, 7, 100])
def test_equals_the_definition(row_chunk):
    queries, keys = _tokens(15)
    weights = jnp.array([1, 0.5, 0] * 5)
    group = jnp.arange(15) // 4
    value = nce(queries, keys, temperature=0.2, weights=weights, group=group, row_chunk=row_chunk)
    expected = _slow(*map(np.asarray, (queries, keys)), 0.2, *map(np.asarray, (weights, group)))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_chunks_give_the_same_gradient():
    queries, keys = _tokens(24)
    weights = jnp.asarray(np.random.default_rng(1).integers(0, 2, 24), jnp.float32)
    options = {"weights": weights, "group": jnp.arange(24) // 2}
    whole = jax.grad(functools.partial(nce, **options), (0, 1))(queries, keys)
    parts = jax.grad(functools.partial(nce, **options, row_chunk=7), (0, 1))(queries, keys)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole, parts)


def test_identical_distinct_tokens_cost_nothing_and_permuted_ones_a_lot():
    tokens = jnp.eye(16)
    assert nce(tokens, tokens, temperature=0.05) < 1e-6
    assert nce(tokens, jnp.roll(tokens, 1, axis=0), temperature=0.05) > 10


def test_scale_of_tokens_is_irrelevant_and_joint_order_too():
    queries, keys = _tokens(12)
    order = np.random.default_rng(2).permutation(12)
    value = nce(queries, keys)
    np.testing.assert_allclose(nce(3 * queries, 0.01 * keys), value, rtol=1e-5)
    np.testing.assert_allclose(nce(queries[order], keys[order]), value, rtol=1e-5)


def test_gradient_pulls_each_query_to_its_key():
    count = 6
    queries, keys = jnp.full((count, count), count**-0.5), jnp.eye(count)
    gradient = jax.grad(nce)(queries, keys)
    assert np.all(np.diag(gradient) < 0)
    assert np.all(np.asarray(gradient)[~np.eye(count, dtype=bool)] > 0)


def test_constant_cosine_is_no_minimum_but_is_one_of_the_released_loss():
    # All tokens alike: every cosine is 1. A small step that tells them apart must lower the loss.
    step = 0.1 * jnp.asarray(np.random.default_rng(3).normal(size=(12, 8)), jnp.float32)
    alike = jnp.ones((12, 8))
    np.testing.assert_allclose(nce(alike, alike), np.log(12), rtol=1e-5)
    assert nce(alike + step, alike + step) < np.log(12) - 0.01
    # The released loss is log n for tokens that match and for tokens that do not.
    np.testing.assert_allclose(released_nce(alike, alike), np.log(12), rtol=1e-5)
    np.testing.assert_allclose(released_nce(alike, -alike), np.log(12), rtol=1e-5)
    queries, keys = _tokens(12)
    assert released_nce(queries, keys) > np.log(12)
    # Its gradients in the matched cosines sum to 0: it only makes them equal.
    slope = jax.grad(lambda scale: released_nce(scale[:, None] * queries, queries))(jnp.ones(12))
    np.testing.assert_allclose(slope, 0, atol=1e-5)


def test_masked_pairs_are_neither_positive_nor_negative():
    queries, keys = _tokens(10)
    weights = jnp.array([1.0] * 6 + [0.0] * 4)
    few = nce(queries[:6], keys[:6])
    np.testing.assert_allclose(nce(queries, keys, weights=weights), few, rtol=1e-6)
    few = released_nce(queries[:6], keys[:6])
    np.testing.assert_allclose(released_nce(queries, keys, weights=weights), few, rtol=1e-6)


@pytest.mark.parametrize("loss", [nce, released_nce])
def test_what_masked_pairs_hold_does_not_matter(loss):
    queries, keys = _tokens(10)
    weights = jnp.array([1.0] * 6 + [0.0] * 4)
    spoilt = queries.at[7].set(jnp.nan), keys.at[8].set(jnp.inf)
    value, gradient = jax.value_and_grad(lambda pair: loss(*pair, weights=weights))(spoilt)
    np.testing.assert_allclose(value, loss(queries, keys, weights=weights), rtol=1e-6)
    assert all(np.all(np.isfinite(part)) for part in gradient)


@pytest.mark.parametrize("row_chunk", [0, 3])
@pytest.mark.parametrize("zero_tokens", [False, True])
def test_without_any_pair_the_loss_is_zero_and_gradients_finite(row_chunk, zero_tokens):
    queries, keys = _tokens(9)
    if zero_tokens:
        queries = jnp.zeros_like(queries)
    loss = functools.partial(nce, weights=jnp.zeros(9), row_chunk=row_chunk)
    value, gradient = jax.value_and_grad(loss, (0, 1))(queries, keys)
    assert value == 0
    assert all(np.all(part == 0) for part in map(np.asarray, gradient))
    value, gradient = jax.value_and_grad(released_nce)(queries, keys, weights=jnp.zeros(9))
    assert value == 0 and np.all(np.asarray(gradient) == 0)


def test_tokens_of_one_group_are_no_negatives_of_each_other():
    # Two levels show the same tissue with the same feature; told apart they could not be.
    tokens = jnp.concatenate([jnp.eye(8), jnp.eye(8)])
    group = jnp.tile(jnp.arange(8), 2)
    assert nce(tokens, tokens, temperature=0.05, group=group) < 1e-6
    np.testing.assert_allclose(nce(tokens, tokens, temperature=0.05), np.log(2), rtol=1e-5)


def test_vmap_keeps_negatives_to_each_sample():
    queries, keys = _tokens(12)
    apart = jax.vmap(nce)(queries.reshape(3, 4, 8), keys.reshape(3, 4, 8))
    np.testing.assert_allclose(apart[1], nce(queries[4:8], keys[4:8]), rtol=1e-6)


def test_low_precision_tokens_are_compared_in_float32():
    queries, keys = (x.astype(jnp.bfloat16) for x in _tokens(12))
    value = nce(queries, keys)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(
        value, nce(queries.astype(jnp.float32), keys.astype(jnp.float32)), rtol=1e-6
    )


@pytest.mark.parametrize("row_chunk", [0, 16])
def test_sharded_over_eight_devices_equals_one(row_chunk):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    queries, keys = _tokens(64)
    weights = jnp.asarray(np.random.default_rng(4).integers(0, 2, 64), jnp.float32)
    group = jnp.arange(64) // 2

    def loss(queries, keys, weights, group):
        return nce(queries, keys, weights=weights, group=group, row_chunk=row_chunk)

    step = jax.jit(jax.value_and_grad(loss, (0, 1)))
    value, gradient = step(queries, keys, weights, group)
    shared = step(*jax.device_put((queries, keys, weights, group), rows))
    np.testing.assert_allclose(shared[0], value, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), shared[1], gradient)


def test_wrong_arguments_are_named():
    queries, keys = _tokens(6)
    with pytest.raises(InputError, match=r"\(6, 8\) and keys \(5, 8\)"):
        nce(queries, keys[:5])
    with pytest.raises(InputError, match="temperature=0"):
        nce(queries, keys, temperature=0)
    with pytest.raises(InputError, match="row_chunk=-1"):
        nce(queries, keys, row_chunk=-1)
