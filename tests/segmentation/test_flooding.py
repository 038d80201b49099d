"""Flooding along affinities: by hand, and as a library does it."""

import bioimage_cpp.segmentation as bioimage
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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


def test_what_no_marker_reaches_above_the_floor_is_a_marker_of_its_own():
    # Two voxels of one object behind an affinity of 0.1, and a single one behind 0.05.
    affinity = np.array([[0.0, 0.95, 0.1, 0.95, 0.05]], np.float32)
    markers = np.array([[7, 0, 0, 0, 0]])

    def found(**settings):
        return flood_affinities([affinity], [1], markers, **settings).tolist()

    assert found() == [[7, 7, 7, 7, 7]]
    assert found(floor=0.5) == [[7, 7, 8, 8, 9]]
    assert found(floor=0.5, smallest=2) == [[7, 7, 8, 8, 8]]
    assert found(floor=0.5, smallest=3) == [[7, 7, 7, 7, 7]]
    # An affinity as high as the limit is not above it, so these two voxels do not belong together for sure.
    assert found(floor=0.5, sure=0.95, smallest=2) == [[7, 7, 7, 7, 7]]
    # They may belong to what lies before them, with an affinity of 0.1 where 0.02 is sure.
    assert found(floor=0.5, sure=0.94, smallest=2) == [[7, 7, 7, 7, 7]]


def test_a_single_voxel_is_a_marker_where_the_next_section_holds_it_and_nothing_else_does():
    markers = np.array([[7, 0, 0, 8, 0]])
    held = np.array([[False, False, True, False, False]])

    def found(left, right, held=held):
        affinity = np.array([[0.0, 1.0, left, right, 1.0]], np.float32)
        settings = {"floor": 0.5, "smallest": 2, "held": held}
        return flood_affinities([affinity], [1], markers, **settings).tolist()

    assert found(0.05, 0.0) == [[7, 7, 9, 8, 8]]
    # It may be part of the first object, with an affinity of 0.2.
    assert found(0.2, 0.0) == [[7, 7, 7, 8, 8]]
    assert found(0.05, 0.0, ~held) == [[7, 7, 7, 8, 8]]


def test_a_wrong_affinity_of_1_takes_no_part_of_another_object():
    # Two objects of 5x8 voxels; the affinity across their border is wrong at one place, which marker 1 is close to.
    inside = np.ones((10, 8), np.float32)
    along, across = inside.copy(), inside.copy()
    along[5] = 0
    along[5, 2] = 1
    markers = np.zeros((10, 8), np.int64)
    markers[3, 2], markers[7, 7] = 1, 2
    rows = np.arange(10)[:, None] + np.zeros((1, 8))
    depth = np.minimum(np.abs(rows - 4.5) - 0.5, 3)

    def wrong(**settings):
        found = flood_affinities([along, across], [0, 1], markers, **settings)
        return int((found[5:] == 1).sum())

    assert wrong() > 10
    assert wrong(depth=depth) <= 3


def test_without_a_marker_the_parts_that_belong_together_remain():
    affinity = np.array([[0.0, 0.95, 0.1, 0.95, 0.95]], np.float32)
    mask = np.array([[True, True, True, True, False]])
    nothing = np.zeros((1, 5), np.int64)
    assert flood_affinities([affinity], [1], nothing, mask, floor=0.5).tolist() == [[1, 1, 2, 2, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_no_fragment_holds_two_parts_that_are_large_enough(seed):
    rng = np.random.default_rng(seed)
    # Affinities are clearly above or below the limits, so that the parts are those of a threshold.
    affinities = rng.choice([0.05, 0.95], (2, 12, 13), p=[0.6, 0.4]).astype(np.float32)
    markers = np.zeros((12, 13), np.int64)
    markers[2, 3], markers[9, 9] = 1, 2
    found = flood_affinities(affinities, [0, 1], markers, floor=0.5, smallest=3)
    voxels = np.arange(found.size).reshape(found.shape)
    ends = np.concatenate(
        [
            np.stack([voxels[1:], voxels[:-1]], -1)[affinities[0, 1:] > 0.5],
            np.stack([voxels[:, 1:], voxels[:, :-1]], -1)[affinities[1, :, 1:] > 0.5],
        ]
    )
    links = coo_array((np.ones(len(ends)), tuple(ends.T)), shape=(found.size,) * 2)
    parts = connected_components(links, directed=False)[1].reshape(found.shape)
    sizes = np.bincount(parts.ravel())
    for fragment in np.unique(found):
        inside = np.unique(parts[found == fragment])
        assert (sizes[inside] >= 3).sum() <= 1
    assert len(np.unique(found)) > 2
