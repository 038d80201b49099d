from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.targets import distance as module

from .small_labels import SPACINGS, blocks, by_scipy

# Compiled whole: operation by operation, each call would compile its loops anew.
instance_distance = jax.jit(module.instance_distance, static_argnames=("plane", "num_ids"))


def test_instances_have_a_maximum_of_1_each():
    labels = blocks(1)
    values, mask = (a[..., 0] for a in instance_distance(jnp.asarray(labels), SPACINGS[1]))
    assert np.all(np.asarray(mask) == 1) and np.all(np.asarray(values)[labels == 0] == 0)
    distance = by_scipy(labels, SPACINGS[1])
    for label in range(1, 5):
        own = labels == label
        np.testing.assert_allclose(values[own], distance[own] / distance[own].max(), rtol=1e-6)


def test_instances_in_the_plane_are_scaled_in_each_section():
    labels = np.zeros((2, 9, 9), np.int32)
    labels[0, 2:7, 2:7], labels[1, 3:6, 3:6] = 1, 1
    values, _ = instance_distance(jnp.asarray(labels), plane=True)
    assert values[0, 4, 4, 0] == 1 and values[1, 4, 4, 0] == 1
    np.testing.assert_allclose(values[0, 2, 2, 0], 1 / 3, rtol=1e-6)
    # In space the deepest voxel is (0, 4, 4), sqrt(1 + 4) from the background of the other section.
    whole, _ = instance_distance(jnp.asarray(labels))
    assert whole[0, 4, 4, 0] == 1
    np.testing.assert_allclose(whole[0, 2, 2, 0], 1 / np.sqrt(5), rtol=1e-6)


def test_the_border_of_the_crop_is_no_edge():
    labels = np.ones((1, 1, 8), np.int32)
    labels[..., 6:] = 2
    values, mask = instance_distance(jnp.asarray(labels))
    np.testing.assert_allclose(values[0, 0, :, 0], [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0.5, 1])
    assert np.all(mask == 1)


def test_too_large_ids_show():
    labels = jnp.array([[[0, 5, 5, 2]]])
    values, _ = instance_distance(labels, num_ids=5)
    assert np.isnan(values[0, 0, 1, 0]) and values[0, 0, 3, 0] == 1


def test_a_batch_with_a_voxel_size_each_equals_its_crops():
    labels = jnp.asarray(np.stack([blocks(0), blocks(1)]))
    spacing = jnp.asarray(SPACINGS[:2])
    values, mask = jax.jit(jax.vmap(module.instance_distance))(labels, spacing)
    for i in range(2):
        one, known = instance_distance(labels[i], spacing[i])
        np.testing.assert_allclose(values[i], one, rtol=1e-6)
        np.testing.assert_array_equal(mask[i], known)


def test_unknown_voxels_hide_edges():
    labels = np.ones((1, 1, 9), np.int32)
    labels[..., 0], labels[..., 8] = 0, -1
    # Voxels 1 to 3 are nearer to the background than to what is unknown; 4 is as near to both.
    _, mask = instance_distance(jnp.asarray(labels))
    np.testing.assert_array_equal(mask[0, 0, :, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(("label", "known"), [(3, 0), (0, 1), (-1, 0)])
def test_a_crop_of_one_label(label, known):
    values, mask = instance_distance(jnp.full((3, 4, 5), label, jnp.int32))
    assert np.all(values == 0) and np.all(mask == known)
