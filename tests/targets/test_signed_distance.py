from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.targets import signed_distance as module

# Compiled whole: operation by operation, each call would compile its loops anew.
signed_distance = jax.jit(module.signed_distance, static_argnames="plane")


def test_signed_distance_of_a_square():
    # Values of PyTorch Connectomics, alpha 8 and beta 50.
    labels = np.zeros((1, 40, 40), np.int32)
    labels[0, 10:30, 10:30] = 7
    values, mask = (np.asarray(a)[0, ..., 0] for a in signed_distance(jnp.asarray(labels)))
    np.testing.assert_allclose(values[19, 20], 0.84828, atol=1e-5)
    np.testing.assert_allclose(values[0, 20], -0.19738, atol=1e-5)
    np.testing.assert_allclose(values.min(), -0.27553, atol=1e-5)
    assert values[0, 0] == values.min() and np.all(mask == 1)
    assert np.all((values > 0) == (labels[0] > 0))


def test_signed_distance_of_sections_and_of_anisotropic_voxels():
    labels = np.zeros((3, 1, 9), np.int32)
    labels[1:, :, 4:] = 1
    kwargs = {"inside": 1.0, "outside": 1.0, "spacing": (5.0, 1.0, 1.0)}
    whole, _ = signed_distance(jnp.asarray(labels), **kwargs)
    plane, _ = signed_distance(jnp.asarray(labels), **kwargs, plane=True)
    np.testing.assert_allclose(whole[1, 0, 8, 0], np.tanh(5), rtol=1e-6)
    np.testing.assert_allclose(whole[0, 0, 0, 0], -np.tanh(np.sqrt(16 + 25)), rtol=1e-6)
    np.testing.assert_allclose(plane[1, 0, 5, 0], np.tanh(2), rtol=1e-6)
    # A section of background alone.
    assert np.all(plane[0] == -1)


def test_unknown_voxels_hide_edges():
    labels = np.ones((1, 1, 9), np.int32)
    labels[..., 0], labels[..., 8] = 0, -1
    values, mask = signed_distance(jnp.asarray(labels))
    np.testing.assert_array_equal(mask[0, 0, :, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(
        values[0, 0, :4, 0], [-np.tanh(1 / 50), *np.tanh([1 / 8, 2 / 8, 3 / 8])], rtol=1e-5
    )
    assert np.all(np.asarray(values)[0, 0, 4:] == 0)


@pytest.mark.parametrize(("label", "value"), [(3, 1), (0, -1), (-1, 0)])
def test_a_crop_of_one_label(label, value):
    values, mask = signed_distance(jnp.full((3, 4, 5), label, jnp.int32))
    assert np.all(values == value) and np.all(mask == (label != -1))
