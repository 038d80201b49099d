import bioimage_cpp.segmentation as bioimage
import edt
import numpy as np
import pytest
from skimage.segmentation import watershed as skimage_watershed

from emjax.errors import InputError
from emjax.segmentation.basins import basins
from emjax.segmentation.fragments import affinity_boundary, watershed
from emjax.segmentation.prediction import NEAREST, Prediction


def _row(values):
    """Affinities along x of one row; those along z and y are 1."""
    array = np.ones((3, 1, 1, len(values)), np.float32)
    array[2, 0, 0] = values
    return Prediction(array, ("affinity",) * 3, NEAREST).affinities()


def _pure(fragments, labels):
    """Whether each fragment lies in one object."""
    return all(len(np.unique(labels[fragments == i])) == 1 for i in np.unique(fragments))


def test_boundary_by_hand():
    # The first voxel has no partner along x (nor y, z): its value there says nothing.
    affinities = _row([0.0, 1.0, 0.25, 1.0])
    worst = affinity_boundary(affinities, combine="worst")
    assert worst.ravel().tolist() == [0.0, 0.0, 0.75, 0.0]
    # A single row has no partners along y and z: the mean is that of x alone.
    mean = affinity_boundary(affinities, combine="mean")
    assert mean.ravel().tolist() == [0.0, 0.0, 0.75, 0.0]


def test_boundary_in_the_plane_does_not_see_the_section_before(perfect, bricks):
    affinities = perfect(bricks).affinities()
    plane = affinity_boundary(affinities, plane=True)
    volume = affinity_boundary(affinities, plane=False)
    assert volume[4].all() and not plane[4].all()
    assert (plane[3] == volume[3]).all()
    third = affinity_boundary(affinities, plane=False, combine="mean")
    assert third[4, 5, 4] == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="boundary='best' is unknown; use mean or worst"):
        affinity_boundary(affinities, combine="best")


@pytest.mark.parametrize("plane", [True, False])
@pytest.mark.parametrize("seeds", ["maxima", "basins"])
def test_flooding_along_affinities_stops_between_voxels(perfect, bricks, plane, seeds):
    affinities = perfect(bricks).affinities()
    boundary = affinity_boundary(affinities, plane=plane)
    fragments = watershed(boundary, plane=plane, seeds=seeds, affinities=affinities)
    assert fragments.dtype == np.uint64
    assert np.unique(fragments).tolist() == list(range(1, int(fragments.max()) + 1))
    assert _pure(fragments, bricks)
    sections = [set(np.unique(section)) for section in fragments]
    assert all(sections[z].isdisjoint(sections[z + 1]) for z in range(7)) == plane


@pytest.mark.parametrize("plane", [True, False])
def test_flooding_the_map_agrees_off_the_boundary(perfect, bricks, plane):
    boundary = affinity_boundary(perfect(bricks).affinities(), plane=plane)
    fragments = watershed(boundary, plane=plane)
    assert fragments.all()
    inside = boundary == 0
    assert _pure(np.where(inside, fragments, 0), np.where(inside, bricks, 0))


def test_smoothed_distances_have_fewer_maxima(noisy):
    affinities = noisy(5).affinities()
    boundary = affinity_boundary(affinities, combine="mean")
    counts = [int(watershed(boundary, sigma_seeds=sigma).max()) for sigma in (0.5, 1.0, 3.0)]
    assert counts[0] > counts[1] > counts[2] >= 8


def test_small_fragments_are_flooded_by_others(noisy):
    boundary = affinity_boundary(noisy(5).affinities(), combine="mean")
    before = watershed(boundary, plane=False, threshold=0.4)
    after = watershed(boundary, plane=False, threshold=0.4, min_size=40)
    assert 0 < np.bincount(before.ravel())[1:].min() < 40
    assert after.all() and np.bincount(after.ravel())[1:].min() >= 40


def test_same_bytes_again(noisy):
    affinities = noisy(6).affinities()
    boundary = affinity_boundary(affinities)
    for flood in (None, affinities):
        found = [watershed(boundary, plane=False, affinities=flood).tobytes() for _ in range(2)]
        assert found[0] == found[1]


@pytest.mark.parametrize("plane", [True, False])
def test_basins_keep_what_is_inside_and_are_as_many_as_the_maxima(noisy, plane):
    affinities = noisy(5).affinities()
    boundary = affinity_boundary(affinities, plane=plane)
    ways = {"plane": plane, "affinities": affinities}
    maxima, found = (watershed(boundary, seeds=seeds, **ways) for seeds in ("maxima", "basins"))
    assert maxima.all() and found.all()
    assert maxima.max() == found.max() > 8
    inside = boundary < 0.5
    parts = [np.s_[z : z + 1] for z in range(len(inside))] if plane else [np.s_[:]]
    for part in parts:
        distance = edt.edt(inside[part][0] if plane else inside, black_border=False)
        expected = basins(distance, distance > 0)
        here = found[part].reshape(expected.shape)
        first = here[expected > 0].min()
        np.testing.assert_array_equal(here[expected > 0], expected[expected > 0] + first - 1)


def test_no_boundary_is_one_fragment_and_all_boundary_is_none():
    assert (watershed(np.zeros((2, 5, 6), np.float32), plane=False) == 1).all()
    assert [s.max() for s in watershed(np.zeros((2, 5, 6), np.float32))] == [1, 2]
    assert not watershed(np.ones((2, 5, 6), np.float32)).any()


def test_unknown_seeds():
    with pytest.raises(InputError, match="seeds='tops' is unknown; use maxima or basins"):
        watershed(np.ones((2, 5, 6), np.float32), seeds="tops")


def test_nothing_outside_of_the_mask(perfect, bricks):
    affinities = perfect(bricks).affinities()
    mask = bricks != 9
    for flood in (None, affinities):
        fragments = watershed(affinity_boundary(affinities), mask=mask, affinities=flood)
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
