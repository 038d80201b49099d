"""Distances in sections, maxima and their basins: by hand, and as libraries find them."""

import cc3d
import edt
import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import local_maxima

from emjax.segmentation.basins import basins, section_distance


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_distances_equal_the_library(share):
    rng = np.random.default_rng(0)
    for section in rng.random((3, 37, 52)) > share:
        wanted = edt.edt(section, black_border=False)
        np.testing.assert_array_equal(section_distance(section), wanted)


def test_distances_by_hand():
    inside = np.ones((3, 4), bool)
    inside[1, 0] = False
    wanted = np.sqrt([[1, 2, 5, 10], [0, 1, 4, 9], [1, 2, 5, 10]]).astype(np.float32)
    np.testing.assert_array_equal(section_distance(inside), wanted)
    # Nothing to be away from: further than anything can be.
    assert (section_distance(np.ones((3, 4), bool)) == 8).all()


def test_basins_by_hand():
    heights = np.array([[1, 3, 2, 1, 2, 5, 4]], np.float32)
    inside = np.ones(heights.shape, bool)
    # The voxel between goes to the higher of its neighbours, or to the later of two that are equal.
    assert basins(heights, inside).tolist() == [[1, 1, 1, 2, 2, 2, 2]]
    assert basins(heights, inside, tops=True).tolist() == [[0, 1, 0, 0, 0, 2, 0]]
    # What leads to a maximum outside is nobody's.
    inside[0, 1] = False
    assert basins(heights, inside).tolist() == [[0, 0, 0, 1, 1, 1, 1]]


def test_plateaus():
    inside = np.ones((1, 7), bool)
    # One that is a maximum, and one that leads up, as a whole, to one side.
    heights = np.array([[4, 4, 4, 1, 2, 2, 3]], np.float32)
    assert basins(heights, inside).tolist() == [[1, 1, 1, 1, 2, 2, 2]]
    assert basins(heights, inside, tops=True).tolist() == [[1, 1, 1, 0, 0, 0, 2]]
    assert (basins(np.zeros((2, 3, 4), np.float32), np.ones((2, 3, 4), bool)) == 1).all()


@pytest.mark.parametrize("shape", [(40, 50), (9, 20, 24)])
@pytest.mark.parametrize("levels", [None, 6])
def test_maxima_equal_the_library(shape, levels):
    rng = np.random.default_rng(1)
    heights = ndimage.gaussian_filter(rng.standard_normal(shape), 2).astype(np.float32)
    if levels:
        # Few different heights: plateaus everywhere.
        heights = np.floor(levels * (heights - heights.min())).astype(np.float32)
    inside = np.ones(shape, bool)
    maxima = local_maxima(heights, connectivity=len(shape))
    found = basins(heights, inside, tops=True)
    np.testing.assert_array_equal(found > 0, maxima)
    components = cc3d.connected_components(maxima, connectivity=8 if len(shape) == 2 else 26)
    assert (
        found.max()
        == components.max()
        == len(np.unique(np.stack([found, components])[:, maxima], axis=1).T)
    )
    # Each basin holds its maximum, and is one piece.
    whole = basins(heights, inside)
    assert (whole > 0).all()
    np.testing.assert_array_equal(whole[maxima], found[maxima])
    for number in range(1, int(whole.max()) + 1):
        assert ndimage.label(whole == number, np.ones((3,) * len(shape)))[1] == 1
