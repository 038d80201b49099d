import numpy as np
import pytest

from emjax.geometry.box import Box
from emjax.segmentation.cells import Cells
from emjax.segmentation.stitching import Face, match, outer_slabs

CELLS = Cells(Box((0, 0, 0), (4, 10, 25)), (4, 10, 12), (2, 3, 5))


def _row(ids):
    return np.array(ids, np.uint64).reshape(1, 1, -1)


def _pairs(lower, upper, share=0.5):
    found = match(tuple(map(_row, lower)), tuple(map(_row, upper)), share)
    return [(*pair, n) for pair, n in zip(found.pairs.tolist(), found.contact, strict=True)]


def test_the_same_object_on_both_sides():
    # 1 of the lower cell and 9 of the upper one share five of six voxels; 2 has no partner.
    assert _pairs(([1, 1, 1], [1, 1, 2]), ([9, 9, 9], [9, 9, 9])) == [(1, 9, 5)]


def test_an_object_that_only_one_cell_sees_joins_none():
    assert _pairs(([1, 1, 1], [1, 1, 1]), ([0, 0, 0], [0, 0, 0])) == []


def test_each_has_one_partner_along_a_face():
    # The upper cell cuts in two what the lower one takes for one: the larger part is joined.
    assert _pairs(([1, 1, 1], [1, 1, 1]), ([8, 8, 9], [9, 9, 9])) == [(1, 9, 4)]


@pytest.mark.parametrize(("share", "joined"), [(0.0, 1), (0.45, 1), (0.5, 0), (1.0, 0)])
def test_the_share_of_the_smaller_one(share, joined):
    # Two of the four voxels that each has are common.
    assert len(_pairs(([1, 1, 1], [1, 0, 0]), ([0, 7, 7], [0, 7, 7]), share)) == joined


@pytest.mark.parametrize(("share", "joined"), [(0.0, 1), (0.7, 1), (0.75, 0), (0.8, 0)])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_share_is_that_of_the_smaller_one_of_unequal_objects(share, joined, swapped):
    # Nine voxels and four, of which three are common: .75 of four, a third of nine.
    large = ([1, 1, 1, 1, 1], [0, 1, 1, 1, 1])
    small = ([0, 0, 0, 7, 7], [7, 7, 0, 0, 0])
    lower, upper = (small, large) if swapped else (large, small)
    assert len(_pairs(lower, upper, share)) == joined


def test_slabs_lie_beyond_the_faces_and_within_the_volume():
    first, second, last = CELLS.grid
    assert Face(2, True).slab(first, CELLS) == Box((0, 0, 12), (4, 10, 5))
    assert Face(2, False).slab(second, CELLS) == Box((0, 0, 7), (4, 10, 5))
    # The last cell is one voxel thick.
    assert Face(2, True).slab(second, CELLS) == Box((0, 0, 24), (4, 10, 1))
    assert not Face(2, True).slab(last, CELLS).volume
    assert not Face(0, True).slab(first, CELLS).volume


def test_what_a_cell_says_beyond_its_faces():
    middle = CELLS.grid[1]
    where = np.indices(middle.read.size)[2] + middle.read.start[2]
    slabs = outer_slabs(where.astype(np.uint64), middle, CELLS)
    assert set(slabs) == {"x0", "x1"}
    assert np.unique(slabs["x0"]).tolist() == [7, 8, 9, 10, 11]
    assert np.unique(slabs["x1"]).tolist() == [24]


def test_an_object_joins_a_partner_for_each_of_its_branches():
    # 1 crosses the face twice; the upper cell does not see that 8 and 9 are connected.
    lower = ([1, 1, 0, 1, 1, 1], [1, 1, 0, 1, 1, 1])
    upper = ([8, 8, 0, 9, 9, 9], [8, 8, 0, 9, 9, 9])
    assert _pairs(lower, upper) == [(1, 8, 4), (1, 9, 6)]
    assert _pairs(upper, lower) == [(1, 8, 4), (1, 9, 6)]


@pytest.mark.parametrize(("common", "joined"), [(5, 1), (4, 0), (1, 0)])
def test_fragments_are_one_if_most_of_what_either_has_is_common(common, joined):
    # Six voxels each: of the 7 that either has 5 are common, of 8 4: just half.
    lower = ([1] * 6 + [0] * 6, [0] * 12)
    upper = ([0] * (6 - common) + [9] * 6 + [0] * common, [0] * 12)
    assert len(_pairs(lower, upper, None)) == joined


def test_a_fragment_across_a_border_joins_no_two():
    assert _pairs(([1] * 4, [1] * 4), ([8, 8, 9, 9], [8, 8, 9, 9]), None) == []


def test_every_pair_that_has_half_of_the_smaller_one_in_common():
    # The lower cell takes for one what the upper one cuts in two; of 7 there are two more voxels beside it.
    lower, upper = ([1, 1, 1, 1, 0], [1, 1, 0, 0, 0]), ([8, 8, 8, 9, 9], [9, 9, 7, 7, 0])
    found = match(tuple(map(_row, lower)), tuple(map(_row, upper)), every=True)
    assert found.pairs.tolist() == [[1, 8], [1, 9]]
    assert found.contact.tolist() == [3, 3] and found.mean.tolist() == [1, 0.75]
