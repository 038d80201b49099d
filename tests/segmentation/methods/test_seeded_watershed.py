import numpy as np

from emjax.segmentation.methods.seeded_watershed import (
    contour_watershed,
    distance_watershed,
    seeded_watershed,
)


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


def _two_deep_places():
    """A bar with a deep place at each end, and a saddle at 5."""
    foreground = np.zeros((3, 3, 12), np.float32)
    foreground[1, 1, 1:11] = 1.0
    distance = np.zeros_like(foreground)
    distance[1, 1, 1:11] = [0.3, 0.9, 1.0, 0.6, 0.2, 0.4, 0.7, 1.0, 0.6, 0.3]
    return foreground, distance


def test_parted_at_the_saddle():
    foreground, distance = _two_deep_places()
    found = distance_watershed(foreground, distance)
    row = found[1, 1].tolist()
    assert row[0] == row[11] == 0 and row[1:5] == [1] * 4 and row[6:11] == [2] * 5
    assert row[5] in (1, 2)
    assert found.dtype == np.uint64 and found.sum() == sum(row)


def test_a_lower_seed_distance_joins_and_a_higher_one_loses():
    foreground, distance = _two_deep_places()
    assert distance_watershed(foreground, distance, seed_distance=0.1).max() == 1
    distance[..., 6:] *= 0.5
    assert distance_watershed(foreground, distance, seed_distance=0.7).max() == 1


def test_contour_takes_seeds_away():
    foreground, distance = _two_deep_places()
    contour = np.zeros_like(foreground)
    kwargs = {"seed_distance": 0.1}
    assert distance_watershed(foreground, distance, contour, **kwargs).max() == 1
    contour[1, 1, 5] = 0.9
    found = distance_watershed(foreground, distance, contour, **kwargs)
    assert found.max() == 2 and found[1, 1, 5] > 0
    assert distance_watershed(foreground, distance, contour, seed_contour=0.95, **kwargs).max() == 1


def test_low_distances_are_no_object():
    low = np.full((4, 5, 6), 5 / 255, np.float32)
    assert not distance_watershed(low, low, low).any()
