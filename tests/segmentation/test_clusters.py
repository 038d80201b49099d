import numpy as np
import pytest

from emjax.segmentation.clusters import dense, joined, smallest_ids

IDS = np.array([2, 5, 2**40, 2**40 + 1, 2**63], np.uint64)


def test_pairs_join_to_the_smallest_id():
    pairs = np.array([[5, 2**63], [2**40, 2**63]], np.uint64)
    assert joined(IDS, pairs).tolist() == [2, 5, 5, 2**40 + 1, 5]
    assert joined(IDS, np.zeros((0, 2), np.uint64)).tolist() == IDS.tolist()
    assert not len(joined(IDS[:0], np.zeros((0, 2), np.uint64)))


def test_clusters_of_any_numbers_take_their_smallest_id():
    assert smallest_ids(IDS, np.array([7, 3, 7, 3, 0])).tolist() == [2, 5, 2, 5, 2**63]


@pytest.mark.parametrize(
    ("given", "found"), [([7, 0, 3, 7], [1, 0, 2, 1]), ([9, 3], [1, 2]), ([0, 0], [0, 0]), ([], [])]
)
def test_dense_clusters(given, found):
    assert dense(np.array(given, np.uint64)).tolist() == found
