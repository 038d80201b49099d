"""Flooding along affinities: by hand, and as a library does it."""

import bioimage_cpp.segmentation as bioimage
import numpy as np
import pytest

from emjax.segmentation.flooding import flood_affinities


def test_by_hand():
    # Between 0 | 1 | 2 | 3 | 4: both ends are marked, the weakest edge of the way parts them.
    affinity = np.array([0.0, 0.9, 0.3, 0.8, 0.7], np.float32)
    found = flood_affinities([affinity[None]], [1], np.array([[7, 0, 0, 0, 5]]))
    assert found.dtype == np.uint32
    assert found.tolist() == [[7, 7, 5, 5, 5]]


def test_equal_edges_go_to_the_nearest_marker():
    even = np.full((1, 9), 0.5, np.float32)
    found = flood_affinities([even], [1], np.array([[1, 0, 0, 0, 0, 0, 0, 0, 2]]))
    assert found.tolist() == [[1, 1, 1, 1, 1, 2, 2, 2, 2]]


def test_an_edge_of_zero_is_still_an_edge():
    nothing = np.zeros((1, 3), np.float32)
    assert flood_affinities([nothing], [1], np.array([[4, 0, 0]])).tolist() == [[4, 4, 4]]


def test_nothing_crosses_the_mask_or_a_missing_axis():
    sure = np.ones((2, 3), np.float32)
    mask = np.array([[True, False, True], [True, True, False]])
    markers = np.array([[1, 9, 0], [0, 0, 9]])
    found = flood_affinities([sure, sure], [0, 1], markers, mask)
    assert found.tolist() == [[1, 0, 0], [1, 1, 0]]
    assert flood_affinities([sure], [1], np.array([[1, 0, 0], [0, 0, 0]])).tolist() == [
        [1, 1, 1],
        [0, 0, 0],
    ]


@pytest.mark.parametrize("shape", [(9, 11), (4, 5, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_library_where_all_edges_differ(shape, seed):
    rng = np.random.default_rng(seed)
    axes = range(len(shape))
    levels = rng.permutation(256)
    affinities = np.zeros((len(shape), *shape), np.float32)
    used = 0
    for axis in axes:
        inner = affinities[axis][tuple(np.s_[1:] if a == axis else np.s_[:] for a in axes)]
        inner[...] = levels[used : used + inner.size].reshape(inner.shape) / 255
        used += inner.size
    markers = np.zeros(shape, np.int64)
    markers.reshape(-1)[rng.choice(markers.size, 5, replace=False)] = np.arange(1, 6)
    offsets = [tuple(-1 if a == axis else 0 for a in axes) for axis in axes]
    expected = bioimage.watershed_from_affinities(affinities, offsets, markers)
    np.testing.assert_array_equal(flood_affinities(affinities, axes, markers), expected)


def test_markers_of_any_integers():
    sure, mask = np.ones((1, 3), np.float32), np.array([[True, True, False]])
    for dtype in (np.uint8, np.uint32, np.int64, np.uint64):
        found = flood_affinities([sure], [1], np.array([[3, 0, 0]], dtype), mask)
        assert found.tolist() == [[3, 3, 0]]
