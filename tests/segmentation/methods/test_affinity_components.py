import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from emjax.segmentation.methods.affinity_components import affinity_components
from emjax.segmentation.prediction import NEAREST, Prediction


def test_row_by_hand():
    array = np.zeros((3, 1, 1, 7), np.float32)
    # Joins 1-0, 2-1, and 6-5; nothing joins 3 and 4. The value at 0 has no partner.
    array[2, 0, 0] = [1.0, 0.6, 0.9, 0.5, 0.2, 0.5, 0.6]
    affinities = Prediction(array, ("affinity",) * 3, NEAREST).affinities()
    assert affinity_components(affinities, 0.5).ravel().tolist() == [1, 1, 1, 0, 0, 2, 2]
    assert affinity_components(affinities, 0.7).ravel().tolist() == [0, 1, 1, 0, 0, 0, 0]
    within = np.array([1, 1, 2, 0, 0, 4, 4]).reshape(1, 1, 7)
    cut = affinity_components(affinities, 0.1, within=within)
    assert cut.ravel().tolist() == [1, 1, 0, 0, 0, 2, 2]


def test_equals_components_of_the_graph_of_voxels(noisy):
    prediction = noisy(3, NEAREST)
    found = affinity_components(prediction.affinities(), 0.7)
    index = np.arange(found.size).reshape(found.shape)
    ends = []
    for channel, offset in enumerate(NEAREST):
        for place in np.argwhere(prediction.array[channel] > 0.7):
            if min(place + offset) >= 0:
                ends.append((index[tuple(place)], index[tuple(place + offset)]))
    a, b = np.array(ends).T
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(found.size,) * 2)
    _, truth = connected_components(graph, directed=False)
    joined = np.bincount(truth)[truth] > 1
    assert ((found.ravel() > 0) == joined).all()
    pairs = np.unique(np.column_stack([found.ravel(), truth])[joined], axis=0)
    assert len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) > 100
    # Ids are in the order of the first voxels.
    ids, first = np.unique(found, return_index=True)
    assert (np.diff(first[ids > 0]) > 0).all()


def test_round_trip_of_labels(perfect, bricks, voi):
    found = affinity_components(perfect(bricks).affinities(), 0.5)
    assert voi(bricks, found) == pytest.approx(0, abs=1e-12)
    assert len(np.unique(found)) == len(np.unique(bricks))


def test_a_higher_threshold_joins_less(noisy):
    affinities = noisy(4).affinities()

    def count(threshold):
        # Voxels that nothing joins are segments of their own here.
        found = affinity_components(affinities, threshold)
        return int(found.max()) + int((found == 0).sum())

    counts = [count(t) for t in np.linspace(0, 1, 11)]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == affinities[0].size
