import numpy as np
import pytest

from emjax.errors import InputError
from emjax.segmentation.prediction import NEAREST, Prediction
from emjax.segmentation.sizes import relabel, remove_large, remove_small


def _row(ids):
    return np.array(ids, np.uint64).reshape(1, 1, -1)


def _affinities(values):
    array = np.zeros((3, 1, 1, len(values)), np.float32)
    array[2, 0, 0] = values
    return Prediction(array, ("affinity",) * 3, NEAREST).affinities()


ROW = [1, 1, 1, 7, 4, 4, 4, 4, 0, 9, 9]


def test_small_becomes_background():
    assert remove_small(_row(ROW), 3).ravel().tolist() == [1, 1, 1, 0, 4, 4, 4, 4, 0, 0, 0]
    assert remove_small(_row(ROW), 2).ravel().tolist() == [1, 1, 1, 0, 4, 4, 4, 4, 0, 9, 9]
    for size in (0, 1):
        assert remove_small(_row(ROW), size).ravel().tolist() == ROW


def test_small_joins_its_neighbour():
    # 7 touches 1 and 4 by one face each: the smaller id; 9 has no neighbour.
    joined = remove_small(_row(ROW), 3, "neighbour")
    assert joined.ravel().tolist() == [1, 1, 1, 1, 4, 4, 4, 4, 0, 0, 0]
    # With affinities, the stronger side.
    for left, right, owner in ((0.9, 0.2, 1), (0.2, 0.9, 4)):
        affinities = _affinities([1, 1, 1, left, right, 1, 1, 1, 0, 0, 1])
        joined = remove_small(_row(ROW), 3, "neighbour", affinities)
        assert joined.ravel().tolist() == [1, 1, 1, owner, 4, 4, 4, 4, 0, 0, 0]


def test_small_ones_that_grow_together_are_kept():
    # 1, 2 and 3 together have 3 voxels; 5 stays alone.
    row = _row([1, 2, 3, 0, 5, 0, 6, 6, 6])
    joined = remove_small(row, 3, "neighbour").ravel()
    assert len(set(joined[:3].tolist())) == 1 and joined[0] > 0
    assert joined[3:].tolist() == [0, 0, 0, 6, 6, 6]


def test_most_contact_wins():
    labels = np.full((1, 4, 4), 3, np.uint64)
    labels[0, 0] = 2
    labels[0, 1, 1] = 8  # one face to 2, three to 3
    assert remove_small(labels, 2, "neighbour")[0, 1, 1] == 3


def test_large_becomes_background():
    assert remove_large(_row(ROW), 3).ravel().tolist() == [1, 1, 1, 7, 0, 0, 0, 0, 0, 9, 9]
    assert remove_large(_row(ROW), 0).ravel().tolist() == ROW


def test_dense_ids_in_the_order_of_first_voxels():
    huge = np.uint64(1 << 60)
    found = relabel(_row([0, int(huge) + 5, 3, 3, int(huge) + 5, 1]))
    assert found.dtype == np.uint64
    assert found.ravel().tolist() == [0, 1, 2, 2, 1, 3]
    assert relabel(_row([4, 4])).ravel().tolist() == [1, 1]


def test_unknown_way_is_refused():
    with pytest.raises(InputError, match="small='merge' is unknown; use background or neighbour"):
        remove_small(_row(ROW), 3, "merge")
