from __future__ import annotations

import edt
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from emjax.targets import distances
from emjax.targets.distances import relative_spacing

# Compiled whole: operation by operation, each call would compile its loops anew.
edge_distance = jax.jit(distances.edge_distance, static_argnames="plane")
instance_distance = jax.jit(distances.instance_distance, static_argnames=("plane", "num_ids"))
signed_distance = jax.jit(distances.signed_distance, static_argnames="plane")

SPACINGS = [(1.0, 1.0, 1.0), (10.0, 1.5, 1.0), (40.0, 4.0, 4.5)]


def blocks(seed: int, shape=(6, 16, 18), ids=5) -> np.ndarray:
    """Objects in background, some of them in several pieces."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, ids, [-(-n // m) for n, m in zip(shape, (2, 4, 3), strict=True)])
    fine = np.kron(coarse, np.ones((2, 4, 3), int))
    return fine[: shape[0], : shape[1], : shape[2]].astype(np.int32)


def by_scipy(labels: np.ndarray, spacing, plane: bool = False) -> np.ndarray:
    """Each label on its own: distance to the nearest voxel that is not it."""
    if plane:
        return np.stack([by_scipy(s[None], spacing)[0] for s in labels])
    out = np.zeros(labels.shape)
    for label in np.unique(labels):
        own = labels == label
        out[own] = np.inf if own.all() else distance_transform_edt(own, spacing)[own]
    return out


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("plane", [False, True])
def test_edge_distance_equals_scipy(spacing, plane):
    for seed in range(3):
        labels = blocks(seed)
        found = edge_distance(jnp.asarray(labels), spacing, plane=plane)
        np.testing.assert_allclose(found, by_scipy(labels, spacing, plane), rtol=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_edge_distance_equals_edt(spacing):
    labels = blocks(7, (8, 20, 24), 9)
    expected = edt.edt(np.ascontiguousarray(labels + 1), anisotropy=spacing, black_border=False)
    np.testing.assert_allclose(edge_distance(jnp.asarray(labels), spacing), expected, rtol=1e-6)


def test_single_voxels_of_noise():
    labels = np.random.default_rng(0).integers(0, 2, (5, 9, 9)).astype(np.int32)
    labels[:, :4] = 1
    found = edge_distance(jnp.asarray(labels), SPACINGS[2])
    np.testing.assert_allclose(found, by_scipy(labels, SPACINGS[2]), rtol=1e-6)


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


def test_unknown_voxels_hide_edges():
    labels = np.ones((1, 1, 9), np.int32)
    labels[..., 0], labels[..., 8] = 0, -1
    # Voxels 1 to 3 are nearer to the background than to what is unknown; 4 is as near to both.
    _, mask = instance_distance(jnp.asarray(labels))
    np.testing.assert_array_equal(mask[0, 0, :, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0])
    values, mask = signed_distance(jnp.asarray(labels))
    np.testing.assert_array_equal(mask[0, 0, :, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(
        values[0, 0, :4, 0], [-np.tanh(1 / 50), *np.tanh([1 / 8, 2 / 8, 3 / 8])], rtol=1e-5
    )
    assert np.all(np.asarray(values)[0, 0, 4:] == 0)


@pytest.mark.parametrize(("label", "value", "known"), [(3, 1, 0), (0, -1, 1), (-1, 0, 0)])
def test_a_crop_of_one_label(label, value, known):
    labels = jnp.full((3, 4, 5), label, jnp.int32)
    values, mask = instance_distance(labels)
    assert np.all(values == 0) and np.all(mask == known)
    values, mask = signed_distance(labels)
    assert np.all(values == value) and np.all(mask == (label != -1))


def test_too_large_ids_show():
    labels = jnp.array([[[0, 5, 5, 2]]])
    values, _ = instance_distance(labels, num_ids=5)
    assert np.isnan(values[0, 0, 1, 0]) and values[0, 0, 3, 0] == 1


def test_a_batch_with_a_voxel_size_each_equals_its_crops():
    labels = jnp.asarray(np.stack([blocks(0), blocks(1)]))
    spacing = jnp.asarray(SPACINGS[:2])
    values, mask = jax.jit(jax.vmap(distances.instance_distance))(labels, spacing)
    for i in range(2):
        one, known = instance_distance(labels[i], spacing[i])
        np.testing.assert_allclose(values[i], one, rtol=1e-6)
        np.testing.assert_array_equal(mask[i], known)


def test_memory_grows_with_the_crop_and_not_with_the_length_of_its_lines():
    labels = jax.ShapeDtypeStruct((4, 64, 64), jnp.int32)
    memory = edge_distance.lower(labels).compile().memory_analysis()
    # A matrix of all pairs of a line would be 64 times the crop.
    assert memory.temp_size_in_bytes < 8 * (4 * labels.size)


def test_relative_spacing():
    np.testing.assert_allclose(relative_spacing((40, 4, 4)), [10, 1, 1])
    np.testing.assert_allclose(relative_spacing(None), [1, 1, 1])
    # The loader's way to say that the voxel size is not known.
    np.testing.assert_allclose(relative_spacing(jnp.zeros(3)), [1, 1, 1])
