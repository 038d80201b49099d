import bioimage_cpp.segmentation as bioimage
import edt
import numpy as np
import pytest
from skimage.segmentation import watershed as skimage_watershed

from emjax.errors import InputError
from emjax.segmentation.basins import basins
from emjax.segmentation.boundary import affinity_boundary
from emjax.segmentation.fragments import make_fragments, watershed
from emjax.segmentation.methods.agglomerate import AgglomerateSettings
from emjax.segmentation.prediction import NEAREST, Prediction


def _edges(prediction):
    """Nearest affinities, along z, y and x."""
    near = prediction.affinities().nearest()
    return [near[axis] for axis in range(3)]


def _each_section(prediction, **settings):
    """Fragments of affinities, made section by section."""
    return make_fragments(prediction, AgglomerateSettings(plane=True, **settings))


def _pure(fragments, labels):
    """Whether each fragment lies in one object."""
    return all(len(np.unique(labels[fragments == i])) == 1 for i in np.unique(fragments))


def test_boundary_by_hand():
    # The first voxel has no partner along x (nor y, z): its value there says nothing.
    row = np.array([[0.0, 1.0, 0.25, 1.0]], np.float32)
    edges = [np.ones_like(row), row]
    worst = affinity_boundary(edges, "worst")
    assert worst.tolist() == [[0.0, 0.0, 0.75, 0.0]]
    # A single row has no partners along y: the mean is that of x alone.
    mean = affinity_boundary(edges, "mean")
    assert mean.tolist() == [[0.0, 0.0, 0.75, 0.0]]


def test_boundary_in_the_plane_does_not_see_the_section_before(perfect, bricks):
    edges = _edges(perfect(bricks))
    volume = affinity_boundary(edges)
    plane = [affinity_boundary([edge[z] for edge in edges[1:]]) for z in (3, 4)]
    assert volume[4].all() and not plane[1].all()
    assert (plane[0] == volume[3]).all()
    third = affinity_boundary(edges, "mean")
    assert third[4, 5, 4] == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="boundary='best' is unknown; use mean or worst"):
        affinity_boundary(edges, "best")


@pytest.mark.parametrize("plane", [True, False])
@pytest.mark.parametrize("seeds", ["maxima", "basins"])
def test_flooding_along_affinities_stops_between_voxels(perfect, bricks, plane, seeds):
    fragments = make_fragments(perfect(bricks), AgglomerateSettings(plane=plane, seeds=seeds))
    assert fragments.dtype == np.uint64
    assert np.unique(fragments).tolist() == list(range(1, int(fragments.max()) + 1))
    assert _pure(fragments, bricks)
    sections = [set(np.unique(section)) for section in fragments]
    assert all(sections[z].isdisjoint(sections[z + 1]) for z in range(7)) == plane


@pytest.mark.parametrize("plane", [True, False])
def test_flooding_the_map_agrees_off_the_boundary(perfect, bricks, plane):
    prediction = perfect(bricks)
    fragments = make_fragments(prediction, AgglomerateSettings(plane=plane, flood="boundary"))
    assert fragments.all()
    inside = affinity_boundary(_edges(prediction)) == 0
    assert _pure(np.where(inside, fragments, 0), np.where(inside, bricks, 0))


def test_smoothed_distances_have_fewer_maxima(noisy):
    counts = [
        int(_each_section(noisy(5), boundary="mean", sigma_seeds=sigma).max())
        for sigma in (0.5, 1.0, 3.0)
    ]
    assert counts[0] > counts[1] > counts[2] >= 8


def test_small_fragments_are_flooded_by_others(noisy):
    boundary = affinity_boundary(_edges(noisy(5)), "mean")
    before = watershed(boundary, threshold=0.4)
    after = watershed(boundary, threshold=0.4, min_size=40)
    assert 0 < np.bincount(before.ravel())[1:].min() < 40
    assert after.all() and np.bincount(after.ravel())[1:].min() >= 40


def test_same_bytes_again(noisy):
    edges = _edges(noisy(6))
    boundary = affinity_boundary(edges)
    for flood in (None, edges):
        found = [watershed(boundary, edges=flood).tobytes() for _ in range(2)]
        assert found[0] == found[1]


@pytest.mark.parametrize("plane", [True, False])
def test_basins_keep_what_is_inside_and_are_as_many_as_the_maxima(noisy, plane):
    edges = _edges(noisy(5))
    if plane:
        edges = [edge[3] for edge in edges[1:]]
    boundary = affinity_boundary(edges)
    maxima, found = (watershed(boundary, seeds=s, edges=edges) for s in ("maxima", "basins"))
    assert maxima.all() and found.all()
    assert maxima.max() == found.max() > 3
    distance = edt.edt(boundary < 0.5, black_border=False)
    expected = basins(distance, distance > 0)
    np.testing.assert_array_equal(found[expected > 0], expected[expected > 0])


def test_no_boundary_is_one_fragment_and_all_boundary_is_none():
    assert (watershed(np.zeros((2, 5, 6), np.float32)) == 1).all()
    assert (watershed(np.zeros((5, 6), np.float32)) == 1).all()
    assert not watershed(np.ones((2, 5, 6), np.float32)).any()
    assert not watershed(np.ones((5, 6), np.float32)).any()


def test_sections_are_numbered_one_after_the_other():
    array = np.ones((3, 3, 5, 6), np.float32)
    prediction = Prediction(array, ("affinity",) * 3, NEAREST)
    assert [set(s.ravel().tolist()) for s in _each_section(prediction)] == [{1}, {2}, {3}]
    # A section without fragments takes no number, and what is no fragment stays 0.
    array[:, 1] = 0
    array[:, 2, :, :2] = 0
    found = _each_section(prediction, foreground_threshold=0.5)
    assert [set(s.ravel().tolist()) for s in found] == [{1}, {0}, {0, 2}]


def test_unknown_seeds():
    with pytest.raises(InputError, match="seeds='tops' is unknown; use maxima or basins"):
        watershed(np.ones((2, 5, 6), np.float32), seeds="tops")


def test_nothing_outside_of_the_mask(perfect, bricks):
    edges = _edges(perfect(bricks))
    mask = bricks != 9
    for flood in (None, edges):
        fragments = watershed(affinity_boundary(edges), mask=mask, edges=flood)
        assert not fragments[~mask].any()
        assert fragments[mask].all()


def test_the_library_floods_like_skimage():
    # All heights differ: the order is the same for both.
    rng = np.random.default_rng(0)
    heights = (rng.permutation(6 * 9 * 10).reshape(6, 9, 10) / 540).astype(np.float32)
    markers = np.zeros(heights.shape, np.int64)
    markers[heights < 12 / 540] = np.arange(1, 13)
    ours = bioimage.watershed(heights, markers)
    theirs = skimage_watershed(heights, markers, connectivity=1)
    assert len(np.unique(ours)) == 12
    np.testing.assert_array_equal(ours, theirs)
