from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.targets import skeleton_distance as module

skeleton_distance = jax.jit(module.skeleton_distance, static_argnames=("alpha", "plane"))


def test_a_bar_by_hand():
    labels = np.zeros((1, 7, 12), np.int32)
    labels[0, 1:6] = 2
    values, mask = (np.asarray(a)[0, :, :, 0] for a in skeleton_distance(labels, plane=True))
    # The edge is 1, 2, 3, 2, 1 away, the skeleton 2, 1, 0, 1, 2.
    wanted = np.array([0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0]) ** 0.8
    np.testing.assert_allclose(values, np.repeat(wanted[:, None], 12, 1), rtol=1e-5)
    assert np.all(mask == 1)


def test_thin_and_thick_objects_have_1_on_their_skeletons():
    labels = np.zeros((1, 13, 12), np.int32)
    labels[0, 1], labels[0, 4:11] = 1, 2
    values, _ = skeleton_distance(labels, 1.0, plane=True)
    np.testing.assert_allclose(values[0, (1, 7), :, 0], 1)
    np.testing.assert_allclose(values[0, 4, 6, 0], 1 / 4, rtol=1e-6)


def test_what_is_hidden_is_masked():
    labels = np.ones((1, 1, 9), np.int32)
    labels[..., 0], labels[..., 8] = 0, -1
    values, mask = skeleton_distance(labels)
    np.testing.assert_array_equal(mask[0, 0, :, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0])
    assert np.all(np.isfinite(values))


@pytest.mark.parametrize(("label", "known"), [(3, 0), (0, 1), (-1, 0)])
def test_a_crop_of_one_label(label, known):
    values, mask = skeleton_distance(jnp.full((1, 1, 9), label, jnp.int32))
    assert np.all(values == 0) and np.all(mask == known)


def test_alpha_is_checked():
    with pytest.raises(InputError, match="alpha=0 must be above 0"):
        module.SkeletonDistance(alpha=0.0)
