from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.targets import shape_descriptors as module
from emjax.targets.shape_descriptors import ShapeDescriptors

lsd = jax.jit(module.shape_descriptors, static_argnames=("sigma", "coarse"))


def slow(labels, sigma):
    """Each voxel by its sums, in float64."""
    found = np.zeros((*labels.shape, 10))
    voxels = np.argwhere(labels != -1)
    for v in np.argwhere(labels > 0):
        away = (voxels - v) / sigma
        w = np.exp(-0.5 * (away**2).sum(1))
        own = labels[tuple(voxels.T)] == labels[tuple(v)]
        count, u = (w * own).sum(), away[own]
        mean = (w[own, None] * u).sum(0) / count
        second = np.einsum("n,ni,nj->ij", w[own], u, u) / count - np.outer(mean, mean)
        variance = np.maximum(np.diag(second), 1e-3)
        pairs = [
            second[a, b] / np.sqrt(variance[a] * variance[b]) for a, b in ((0, 1), (0, 2), (1, 2))
        ]
        parts = [mean / 2 + 0.5, variance, np.array(pairs) / 2 + 0.5, [count / w.sum()]]
        found[tuple(v)] = np.clip(np.concatenate(parts), 0, 1)
    return found


def test_equals_its_definition():
    labels = np.kron(np.random.default_rng(0).integers(0, 3, (2, 2, 3)), np.ones((2, 3, 2))).astype(
        np.int32
    )
    labels[1, 2, 3] = -1
    values, mask = lsd(labels, (1.0, 2.0, 3.0), (1, 1, 1))
    np.testing.assert_allclose(values, slow(labels, np.array([1.0, 2, 3])), atol=2e-4)
    assert np.all(np.asarray(mask) == (labels != -1)[..., None])


def test_a_voxel_in_the_middle_of_its_object_by_hand():
    labels = jnp.ones((5, 5, 5), jnp.int32)
    values, _ = lsd(labels, (1.0, 1.0, 1.0), (1, 1, 1))
    weights = np.exp(-0.5 * np.arange(-2, 3) ** 2)
    variance = (weights * np.arange(-2, 3) ** 2).sum() / weights.sum()
    np.testing.assert_allclose(
        values[2, 2, 2], [0.5] * 3 + [variance] * 3 + [0.5] * 3 + [1], atol=1e-5
    )
    # At the border all of the object lies on one side.
    assert values[2, 2, 0, 2] > 0.75 and values[2, 2, 4, 2] < 0.25


def test_coarse_statistics_are_near_and_any_size_fits():
    labels = np.zeros((4, 11, 13), np.int32)
    labels[:, :6], labels[:, 6:, 5:] = 1, 2
    fine, _ = lsd(labels, (2.0, 4.0, 4.0), (1, 1, 1))
    coarse, _ = lsd(labels, (2.0, 4.0, 4.0), (1, 2, 2))
    assert coarse.shape == (4, 11, 13, 10) and np.abs(fine - coarse).mean() < 0.05
    assert np.all(np.asarray(coarse)[labels == 0] == 0)


def test_options_are_checked():
    assert len(ShapeDescriptors().names) == 10 and ShapeDescriptors().decoder == ""
    with pytest.raises(InputError, match="sigma=0,1,1 must be above 0"):
        ShapeDescriptors(sigma=(0.0, 1.0, 1.0))
    with pytest.raises(InputError, match="coarse=1,0,1 must be 1 or more"):
        ShapeDescriptors(coarse=(1, 0, 1))
