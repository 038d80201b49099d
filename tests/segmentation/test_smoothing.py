"""Gaussian smoothing beside scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emjax.segmentation.smoothing import smooth


@pytest.mark.parametrize("shape", [(17, 23), (5, 9, 12), (1, 3), (2, 1, 7)])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_the_same_bits_as_scipy(shape, sigma):
    values = np.random.default_rng(0).random(shape, np.float32)
    expected = ndimage.gaussian_filter(values, sigma)
    found = smooth(values, sigma)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_by_hand():
    # With sigma 0.25 the window has three voxels: exp(-8) on both sides.
    side = np.exp(-8) / (1 + 2 * np.exp(-8))
    found = smooth(np.array([[0, 0, 1, 0]], np.float32), 0.25)
    np.testing.assert_allclose(found, [[0, side, 1 - 2 * side, side]], rtol=1e-6)
