from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from emjax.losses.balance import class_balance


def weights(values, mask=None):
    values = jnp.asarray(values, jnp.float32)[..., None]
    mask = jnp.ones_like(values) if mask is None else jnp.asarray(mask)[..., None]
    return np.asarray(class_balance(values, mask))[..., 0]


def test_by_hand():
    # A quarter of the voxels: each counts three times.
    np.testing.assert_allclose(weights([[1, 0, 0, 0]]), [[3, 1, 1, 1]])
    np.testing.assert_allclose(weights([[1, 1, 1, 0]]), [[1, 1, 1, 3]])
    np.testing.assert_allclose(weights([[1, 0]]), [[1, 1]])


def test_both_classes_weigh_the_same_unless_one_is_very_rare():
    values = np.zeros((1, 100))
    values[0, :7] = 1
    balanced = weights(values)
    np.testing.assert_allclose(balanced[0, :7].sum(), balanced[0, 7:].sum(), rtol=1e-5)
    values[0, 1:] = 0
    assert weights(values).max() == np.float32(19)
    np.testing.assert_allclose(weights(1 - values), weights(values), rtol=1e-5)


def test_only_what_is_known_counts():
    values = [[1, 0, 0, 0, 1, 1, np.nan]]
    np.testing.assert_allclose(weights(values, [[1, 1, 1, 1, 0, 0, 0]])[0, :4], [3, 1, 1, 1])


def test_each_crop_and_channel_has_its_own():
    values = np.zeros((2, 4, 2), np.float32)
    values[0, :1, 0] = values[1, :2, 1] = 1
    found = class_balance(jnp.asarray(values), jnp.ones((2, 4, 2)))
    np.testing.assert_allclose(found[0, :, 0], [3, 1, 1, 1])
    np.testing.assert_allclose(found[1, :, 1], [1, 1, 1, 1])


def test_one_class_alone_or_nothing_known_weighs_1():
    for values in (np.zeros((1, 5)), np.ones((1, 5))):
        np.testing.assert_allclose(weights(values), np.ones((1, 5)), rtol=1e-5)
        np.testing.assert_allclose(weights(values, np.zeros((1, 5))), np.ones((1, 5)), rtol=1e-5)


def test_values_between_mix_the_weights():
    np.testing.assert_allclose(weights([[0.25, 0.25, 0.25, 0.25]]), np.full((1, 4), 1.5), rtol=1e-6)
