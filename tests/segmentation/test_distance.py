import numpy as np

from emjax.segmentation.distance import distance_watershed


def _two_touching():
    """A bar with a deep place at each end, and a saddle at 5."""
    foreground = np.zeros((3, 3, 12), np.float32)
    foreground[1, 1, 1:11] = 1.0
    distance = np.zeros_like(foreground)
    distance[1, 1, 1:11] = [0.3, 0.9, 1.0, 0.6, 0.2, 0.4, 0.7, 1.0, 0.6, 0.3]
    return foreground, distance


def test_parted_at_the_saddle():
    foreground, distance = _two_touching()
    found = distance_watershed(foreground, distance)
    row = found[1, 1].tolist()
    assert row[0] == row[11] == 0 and row[1:5] == [1] * 4 and row[6:11] == [2] * 5
    assert row[5] in (1, 2)
    assert found.dtype == np.uint64 and found.sum() == sum(row)


def test_a_lower_seed_distance_joins_and_a_higher_one_loses():
    foreground, distance = _two_touching()
    assert distance_watershed(foreground, distance, seed_distance=0.1).max() == 1
    distance[..., 6:] *= 0.5
    assert distance_watershed(foreground, distance, seed_distance=0.7).max() == 1


def test_contour_takes_seeds_away():
    foreground, distance = _two_touching()
    contour = np.zeros_like(foreground)
    kwargs = {"seed_distance": 0.1}
    assert distance_watershed(foreground, distance, contour, **kwargs).max() == 1
    contour[1, 1, 5] = 0.9
    found = distance_watershed(foreground, distance, contour, **kwargs)
    assert found.max() == 2 and found[1, 1, 5] > 0
    assert distance_watershed(foreground, distance, contour, seed_contour=0.95, **kwargs).max() == 1


def test_low_probabilities_are_no_object():
    low = np.full((4, 5, 6), 5 / 255, np.float32)
    assert not distance_watershed(low, low, low).any()
