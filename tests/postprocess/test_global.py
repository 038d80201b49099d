"""Operations that see the whole volume: by hand, against other libraries, and the same whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.postprocess.holes import Fill
from emjax.postprocess.linking import Link
from emjax.postprocess.operation import Global
from emjax.postprocess.sizes import Largest, SizeLimits


def whole(operation: Global, labels: np.ndarray, size=()) -> np.ndarray:
    """Does all passes in memory."""
    labels = labels.astype(np.uint64)
    grid = Grid(Box((0, 0, 0), labels.shape), size or labels.shape)
    parts = []
    for block in grid:
        read = operation.reads(block.core, grid.outer)
        parts.append(operation.gather(labels[read.slices], read, block, grid.outer))
    table = operation.decide(grid, iter(parts))
    found = np.full(labels.shape, 99, np.uint64)
    for block in grid:
        found[block.core.slices] = operation.change(labels[block.core.slices], block, table)
    return found


def scattered(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 5, (4, 6, 7))
    labels = np.kron(coarse, np.ones((2, 3, 2), int))
    labels[np.random.default_rng(seed + 1).random(labels.shape) < 0.05] = 0
    return labels


@pytest.mark.parametrize(
    "operation",
    [
        SizeLimits(min_size=30, max_size=300),
        Largest(count=2),
        Fill(),
        Fill(plane=True),
        Link(overlap=0.1),
    ],
    ids=str,
)
def test_blocks_make_no_difference(operation):
    labels = scattered()
    if isinstance(operation, Fill):
        labels[labels > 1] = 1
    one = whole(operation, labels)
    assert np.any(one != labels)
    for size in ((3, 5, 4), (1, 18, 14), (8, 2, 3)):
        np.testing.assert_array_equal(whole(operation, labels, size), one)


def test_sizes_by_hand():
    labels = np.repeat([0, 7, 5, 9, 4], [4, 1, 2, 3, 3]).reshape(1, 1, -1)
    assert set(np.unique(whole(SizeLimits(min_size=2), labels))) == {0, 5, 9, 4}
    assert set(np.unique(whole(SizeLimits(max_size=2), labels))) == {0, 5, 7}
    assert set(np.unique(whole(SizeLimits(min_size=2, max_size=2), labels))) == {0, 5}
    assert set(np.unique(whole(Largest(), labels))) == {0, 4}
    assert not whole(SizeLimits(min_size=2), labels * 0).any()


def test_sizes_that_change_nothing_or_everything_are_refused():
    with pytest.raises(InputError, match="size: removes nothing"):
        SizeLimits(min_size=1)
    with pytest.raises(InputError, match="max_size=3 is below min_size=5"):
        SizeLimits(min_size=5, max_size=3)


def test_holes_by_hand():
    labels = np.full((5, 7, 12), 3)
    labels[2, 3, 3] = 0  # a hole
    labels[0, 3, 6] = 0  # at the border
    labels[1:4, 1:6, 9:] = 4
    labels[2, 3, 8] = 0  # between two objects
    found = whole(Fill(), labels)
    assert found[2, 3, 3] == 3 and found[0, 3, 6] == 0 and found[2, 3, 8] == 0
    # In its section, background at the first section is a hole.
    assert whole(Fill(plane=True), labels)[0, 3, 6] == 3
    assert whole(Fill(max_size=1), labels)[2, 3, 3] == 3
    labels[2, 3, 4] = 0
    assert whole(Fill(max_size=1), labels)[2, 3, 3] == 0


def test_holes_are_those_of_scipy():
    mask = scattered(3) > 0
    np.testing.assert_array_equal(whole(Fill(), mask, (3, 4, 5)), ndimage.binary_fill_holes(mask))
    assert whole(Fill(), mask * 0).sum() == 0


def test_sections_are_linked_by_overlap():
    labels = np.zeros((4, 1, 12), int)
    labels[0, 0, :4], labels[0, 0, 6:] = 5, 5 + 1
    # The same id in another section is another object.
    labels[1, 0, 1:5], labels[1, 0, 6:8], labels[1, 0, 8:] = 1, 5, 2
    labels[2, 0, 1:5] = 1
    found = whole(Link(overlap=0.25), labels)
    # 3 of 5 voxels in common; 6 goes on in the larger of its two halves.
    assert found[:, 0, 1].tolist() == [1, 1, 1, 0]
    assert found[0, 0, 6] == found[1, 0, 9] == 2 and found[1, 0, 6] == 3
    strict = whole(Link(overlap=0.7), labels)
    assert strict[1, 0, 1] != strict[0, 0, 1] and strict[1, 0, 1] == strict[2, 0, 1]
    # A section without the object ends it.
    labels[1] = 0
    assert len(np.unique(whole(Link(overlap=0.25), labels))) == 4
