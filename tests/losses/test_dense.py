from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from emjax.errors import InputError
from emjax.losses.balance import class_balance
from emjax.losses.dense import (
    DENSE_LOSSES,
    balanced_bce,
    bce,
    cross_entropy,
    dice,
    focal,
    l1,
    mse,
    weighted_loss,
)

NAMES = sorted(DENSE_LOSSES)


def batch(seed: int = 0, shape=(2, 2, 3, 4, 3)):
    """Logits, one-hot values and a mask that is the same for all channels of a voxel."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=shape).astype(np.float32) * 3
    values = np.eye(shape[-1], dtype=np.float32)[rng.integers(0, shape[-1], shape[:-1])]
    mask = np.repeat(rng.random((*shape[:-1], 1)) < 0.7, shape[-1], -1).astype(np.float32)
    return logits, values, mask


def slow(name: str, logits, values, mask) -> float:
    """Each loss from its formula, in float64, over known voxels alone."""
    z, v, m = (np.asarray(a, np.float64) for a in (logits, values, mask))
    p = expit(z)
    entropy = -(v * np.log(p) + (1 - v) * np.log(1 - p))
    if name == "cross_entropy":
        return -(v * log_softmax(z, -1)).sum(-1)[m[..., 0] > 0].mean()
    if name == "dice":
        sums = [[(m * a)[..., c].sum() for c in range(z.shape[-1])] for a in (p * v, p, v)]
        return np.mean([1 - (2 * a + 1) / (b + c + 1) for a, b, c in zip(*sums, strict=True)])
    errors = {
        "bce": entropy,
        "balanced_bce": entropy * np.asarray(class_balance(jnp.asarray(v), jnp.asarray(m))),
        "focal": entropy * (v - p) ** 2,
        "mse": (p - v) ** 2,
        "l1": np.abs(p - v),
    }[name]
    return errors[m > 0].mean()


@pytest.mark.parametrize("name", NAMES)
def test_equals_its_formula(name):
    logits, values, mask = batch()
    found = jax.jit(DENSE_LOSSES[name])(logits, values, mask)
    assert found.dtype == jnp.float32 and found.shape == ()
    np.testing.assert_allclose(found, slow(name, logits, values, mask), rtol=1e-5)


def test_by_hand():
    logits, values = jnp.zeros((1, 4, 1)), jnp.array([[[1.0], [0.0], [0.0], [0.0]]])
    mask = jnp.ones((1, 4, 1))
    np.testing.assert_allclose(bce(logits, values, mask), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(balanced_bce(logits, values, mask), 1.5 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(focal(logits, values, mask), np.log(2) / 4, rtol=1e-6)
    np.testing.assert_allclose(mse(logits, values, mask), 0.25)
    np.testing.assert_allclose(l1(logits, values, mask), 0.5)
    # 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    np.testing.assert_allclose(dice(logits, values, mask), 0.5)
    np.testing.assert_allclose(
        cross_entropy(jnp.zeros((1, 2, 3)), jnp.eye(3)[None, :2], jnp.ones((1, 2, 3))),
        np.log(3),
        rtol=1e-6,
    )


@pytest.mark.parametrize("name", NAMES)
def test_nothing_known_gives_zero_and_a_zero_gradient(name):
    logits, values, mask = batch()
    value, gradient = jax.jit(jax.value_and_grad(DENSE_LOSSES[name]))(logits, values, 0 * mask)
    assert value == 0 and np.all(np.asarray(gradient) == 0)


@pytest.mark.parametrize("name", NAMES)
def test_masked_voxels_may_hold_anything(name):
    logits, values, mask = batch()
    loss = jax.jit(jax.value_and_grad(DENSE_LOSSES[name]))
    clean, clean_gradient = loss(logits, values, mask)
    spoilt = np.where(mask > 0, logits, np.nan), np.where(mask > 0, values, np.inf)
    value, gradient = loss(*spoilt, mask)
    assert value == clean
    np.testing.assert_array_equal(gradient, clean_gradient)
    assert np.all(np.asarray(gradient)[mask == 0] == 0)


@pytest.mark.parametrize("name", NAMES)
def test_huge_logits_stay_finite(name):
    logits, values, mask = batch()
    value, gradient = jax.value_and_grad(DENSE_LOSSES[name])(1e4 * logits, values, mask)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


@pytest.mark.parametrize("name", NAMES)
def test_steps_down_the_gradient_find_the_values(name):
    logits, values, mask = batch(shape=(1, 1, 3, 4, 3))
    loss = jax.jit(jax.value_and_grad(DENSE_LOSSES[name]))
    start = loss(logits, values, mask)[0]
    moved = 0.1 * jnp.asarray(logits)
    for _ in range(200):
        moved = moved - 20 * loss(moved, values, mask)[1]
    assert loss(moved, values, mask)[0] < 0.2 * start
    known = mask > 0
    right = np.asarray(moved)[known] > 0 if name != "cross_entropy" else _largest(moved)[known]
    np.testing.assert_array_equal(right, values[known] > 0)


def _largest(logits) -> np.ndarray:
    return np.asarray(logits) == np.asarray(logits).max(-1, keepdims=True)


def test_losses_of_values_take_the_activation_of_their_target():
    logits, values, mask = batch()
    z, v, known = np.float64(logits), np.float64(values), mask > 0
    np.testing.assert_allclose(
        mse(logits, values, mask, activation="tanh"),
        ((np.tanh(z) - v) ** 2)[known].mean(),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        l1(logits, values, mask, activation="softmax"),
        np.abs(softmax(z, -1) - v)[known].mean(),
        rtol=1e-5,
    )
    with pytest.raises(InputError, match="unknown activation 'tan'; use sigmoid, tanh, softmax"):
        mse(logits, values, mask, activation="tan")


def test_dice_leaves_out_channels_of_which_nothing_is_known():
    logits, values, mask = batch()
    mask[..., 1] = 0
    rest = [0, 2]
    np.testing.assert_allclose(
        dice(logits, values, mask),
        slow("dice", logits[..., rest], values[..., rest], mask[..., rest]),
        rtol=1e-5,
    )


def test_the_batch_is_one_whole():
    # Two crops, the second hardly labelled: a mean over voxels, not over crops.
    logits, values, mask = batch()
    mask[1] = 0
    mask[1, 0, 0, 0] = 1
    together = bce(logits, values, mask)
    np.testing.assert_allclose(together, slow("bce", logits, values, mask), rtol=1e-5)
    alone = (bce(logits[:1], values[:1], mask[:1]) + bce(logits[1:], values[1:], mask[1:])) / 2
    assert abs(together - alone) > 1e-3


def test_weighted_sum_and_its_terms():
    logits, values, mask = batch()
    total, terms = weighted_loss((("mse", 2.0), ("bce", 0.5)), logits, values, mask, "sigmoid")
    assert list(terms) == ["mse", "bce"]
    np.testing.assert_allclose(terms["mse"], mse(logits, values, mask))
    np.testing.assert_allclose(total, 2 * terms["mse"] + 0.5 * terms["bce"], rtol=1e-6)
    tanh = weighted_loss((("mse", 1.0),), logits, values, mask, "tanh")[0]
    np.testing.assert_allclose(tanh, mse(logits, values, mask, activation="tanh"))


def test_mistakes_are_named():
    logits, values, mask = batch()
    with pytest.raises(InputError, match="unknown loss 'dise'; use one of bce, .*dice"):
        weighted_loss((("dise", 1.0),), logits, values, mask)
    with pytest.raises(InputError, match="same shape"):
        bce(logits, values[..., 0], mask)
