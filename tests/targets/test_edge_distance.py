from __future__ import annotations

import edt
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.targets import edge_distance as module
from emjax.targets.edge_distance import relative_spacing

from .small_labels import SPACINGS, blocks, by_scipy

# Compiled whole: operation by operation, each call would compile its loops anew.
edge_distance = jax.jit(module.edge_distance, static_argnames="plane")


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
