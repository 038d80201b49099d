import numpy as np

from emjax.segmentation.contour import contour_watershed, seeded_watershed


def _two_touching():
    """Two cubes that share a face, with a contour between them and around."""
    foreground = np.zeros((8, 8, 16), np.float32)
    foreground[1:7, 1:7, 1:15] = 1.0
    contour = np.zeros_like(foreground)
    contour[1:7, 1:7, 7:9] = 1.0
    return foreground, contour


def test_objects_that_touch_are_parted_by_their_contour():
    foreground, contour = _two_touching()
    found = contour_watershed(foreground, contour)
    assert found.dtype == np.uint64
    assert ((found > 0) == (foreground > 0)).all()
    left, right = set(np.unique(found[:, :, 1:7])) - {0}, set(np.unique(found[:, :, 9:15])) - {0}
    assert len(left) == len(right) == 1 and left != right
    assert len(np.unique(contour_watershed(foreground, np.zeros_like(contour)))) == 2


def test_seeds_need_foreground_and_size():
    foreground, contour = _two_touching()
    foreground[:, :, 8:] *= 0.87
    # Above the threshold of objects, not above that of seeds: the left seed floods it.
    found = contour_watershed(foreground, contour)
    assert len(np.unique(found)) == 2 and found[3, 3, 12] == found[3, 3, 3] > 0
    # Not above the threshold of objects either.
    found = contour_watershed(foreground, contour, threshold=0.88)
    assert not found[3, 3, 12] and found[3, 3, 3]
    # Both are seeds, of 6 x 6 x 6 voxels; none is larger.
    kwargs = {"seed_foreground": 0.8}
    assert len(np.unique(contour_watershed(foreground, contour, min_seed_size=216, **kwargs))) == 3
    assert not contour_watershed(foreground, contour, min_seed_size=217, **kwargs).any()


def test_diagonal_seeds_are_joined_on_demand():
    foreground = np.zeros((1, 4, 4), np.float32)
    foreground[0, :2, :2] = foreground[0, 2:, 2:] = 1
    contour = np.zeros_like(foreground)
    assert contour_watershed(foreground, contour, connectivity=6).max() == 2
    assert contour_watershed(foreground, contour, connectivity=26).max() == 1


def test_flooding_by_hand():
    heights = np.array([0, 0.2, 0.6, 0.9, 0.3, 0.1], np.float32).reshape(1, 1, 6)
    seeds = np.array([5, 0, 0, 0, 0, 8], np.uint64).reshape(1, 1, 6)
    mask = np.array([1, 1, 1, 0, 1, 1], bool).reshape(1, 1, 6)
    assert seeded_watershed(heights, seeds, mask).ravel().tolist() == [5, 5, 5, 0, 8, 8]
