import numpy as np

from emjax.segmentation.prediction import NEAREST, Prediction
from emjax.segmentation.region_graph import edge_statistics
from emjax.segmentation.sizes import limit_sizes, relabel, remove_small


def _row(ids):
    return np.array(ids, np.uint64).reshape(1, 1, -1)


def _affinities(values):
    array = np.zeros((3, 1, 1, len(values)), np.float32)
    array[2, 0, 0] = values
    return Prediction(array, ("affinity",) * 3, NEAREST).affinities()


def _sized(row, affinities=None, **limits):
    """Each id a cluster of itself; what the row becomes."""
    row = _row(row)
    ids, sizes = np.unique(row[row > 0], return_counts=True)
    statistics = edge_statistics(row, affinities)
    kept = limit_sizes(ids, sizes, ids=ids, statistics=statistics, **limits)
    lookup = np.zeros(int(ids.max()) + 1, np.uint64)
    lookup[ids] = kept
    return lookup[row].ravel().tolist()


ROW = [1, 1, 1, 7, 4, 4, 4, 4, 0, 9, 9]


def test_small_becomes_background():
    assert _sized(ROW, min_size=3) == [1, 1, 1, 0, 4, 4, 4, 4, 0, 0, 0]
    assert _sized(ROW, min_size=2) == [1, 1, 1, 0, 4, 4, 4, 4, 0, 9, 9]
    assert _sized(ROW, min_size=1) == _sized(ROW) == ROW
    assert remove_small(_row(ROW), 3).ravel().tolist() == [1, 1, 1, 0, 4, 4, 4, 4, 0, 0, 0]
    assert remove_small(_row(ROW), 1).ravel().tolist() == ROW


def test_small_joins_its_neighbour():
    # 7 touches 1 and 4 by one face each: the smaller id; 9 has no neighbour.
    joined = _sized(ROW, min_size=3, small="neighbour")
    assert joined == [1, 1, 1, 1, 4, 4, 4, 4, 0, 0, 0]
    # With affinities, the stronger side.
    for left, right, owner in ((0.9, 0.2, 1), (0.2, 0.9, 4)):
        affinities = _affinities([1, 1, 1, left, right, 1, 1, 1, 0, 0, 1])
        joined = _sized(ROW, affinities, min_size=3, small="neighbour")
        assert joined == [1, 1, 1, owner, 4, 4, 4, 4, 0, 0, 0]


def test_small_ones_that_grow_together_are_kept():
    # 1, 2 and 3 together have 3 voxels; 5 stays alone.
    joined = _sized([1, 2, 3, 0, 5, 0, 6, 6, 6], min_size=3, small="neighbour")
    assert len(set(joined[:3])) == 1 and joined[0] > 0
    assert joined[3:] == [0, 0, 0, 6, 6, 6]


def test_most_contact_wins():
    labels = np.full((1, 4, 4), 3, np.uint64)
    labels[0, 0] = 2
    labels[0, 1, 1] = 8  # one face to 2, three to 3
    ids, sizes = np.unique(labels, return_counts=True)
    kept = limit_sizes(
        ids, sizes, min_size=2, small="neighbour", ids=ids, statistics=edge_statistics(labels)
    )
    assert kept.tolist() == [2, 3, 3]


def test_sizes_are_those_of_whole_clusters():
    # Fragments of 2 and 2 voxels make a cluster of 4; background has no size.
    clusters, sizes = np.array([5, 5, 6, 0], np.uint64), np.array([2, 2, 3, 9])
    assert limit_sizes(clusters, sizes, min_size=4).tolist() == [5, 5, 0, 0]
    assert limit_sizes(clusters, sizes, max_size=3).tolist() == [0, 0, 6, 0]


def test_neighbours_of_clusters_add_up():
    # 1 and 2 are one cluster, which 3 lies between.
    row = [1, 3, 2]
    affinities = _affinities([0, 0.5, 0.9])
    ids, sizes = np.array([1, 2, 3], np.uint64), np.array([5, 5, 1])
    kept = limit_sizes(
        np.array([1, 1, 3], np.uint64),
        sizes,
        min_size=2,
        small="neighbour",
        ids=ids,
        statistics=edge_statistics(_row(row), affinities),
    )
    assert kept.tolist() == [1, 1, 1]


def test_large_becomes_background():
    assert _sized(ROW, max_size=3) == [1, 1, 1, 7, 0, 0, 0, 0, 0, 9, 9]
    assert _sized(ROW, max_size=0) == ROW


def test_dense_ids_in_the_order_of_first_voxels():
    huge = np.uint64(1 << 60)
    found, sizes = relabel(_row([0, int(huge) + 5, 3, 3, int(huge) + 5, 1]))
    assert found.dtype == np.uint64
    assert found.ravel().tolist() == [0, 1, 2, 2, 1, 3]
    assert sizes.tolist() == [2, 2, 1]
    found, sizes = relabel(_row([4, 4, 2, 4, 0]))
    assert found.ravel().tolist() == [1, 1, 2, 1, 0] and sizes.tolist() == [3, 1]
    found, sizes = relabel(_row([0, 0]))
    assert found.ravel().tolist() == [0, 0] and sizes.tolist() == []
