import math

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.segmentation.cells import Cells, choose_blocks, choose_cells, cut, layout

OUTER = Box((3, 5, 0), (10, 20, 33))


def test_a_small_volume_is_one_cell():
    cells = choose_cells(OUTER, None)
    assert len(cells) == 1 and cells.size == OUTER.size
    assert cells.grid[0].core == cells.grid[0].read == OUTER


def test_cells_of_a_large_volume_are_about_as_long_along_each_axis():
    cells = choose_cells(Box((0, 0, 0), (2000, 9000, 9000)), (40.0, 4.0, 4.0), halo=())
    nm = [side * voxel for side, voxel in zip(cells.size, (40, 4, 4), strict=True)]
    assert max(nm) <= 2.5 * min(nm) and math.prod(cells.size) <= 1 << 25
    # 32 voxels of 4 nm are 128 nm, 3 of 40.
    assert cells.halo == (3, 32, 32)
    assert choose_cells(OUTER, None, (4, 8, 8), None).halo == (0, 0, 0)


def test_ids_of_cells_never_meet():
    cells = Cells(OUTER, (4, 8, 10), (1, 1, 1))
    ranges = [(cells.first_id(i) + 1, cells.first_id(i) + c.core.volume) for i, c in _each(cells)]
    assert all(last < first for (_, last), (first, _) in zip(ranges, ranges[1:], strict=False))


def _each(cells):
    return [(cell.index, cell) for cell in cells.grid]


def test_blocks_are_made_of_all_cells_once():
    cells = Cells(OUTER, (4, 8, 10), (1, 2, 3))
    for size in [(4, 8, 10), (8, 8, 20), (10, 16, 33), (99, 99, 99)]:
        grid = choose_blocks(cells, size)
        found = [cell.index for block in grid for cell in cells.within(block.core)]
        assert sorted(found) == list(range(len(cells)))
        for block in grid:
            voxels = sum(cell.core.volume for cell in cells.within(block.core))
            assert voxels == block.core.volume


def test_blocks_that_cut_cells_are_refused_with_a_size_that_does_not():
    cells = Cells(OUTER, (4, 8, 10), (0, 0, 0))
    with pytest.raises(InputError, match="block_size=\\(6, 8, 10\\) is no multiple .* use 8,8,10"):
        choose_blocks(cells, (6, 8, 10))


def test_the_cell_below():
    cells = Cells(OUTER, (4, 8, 10), (0, 0, 0))
    for cell in cells.grid:
        for axis in range(3):
            other = cells.below(cell, axis)
            if cell.core.start[axis] == OUTER.start[axis]:
                assert other is None
                continue
            assert other.core.stop[axis] == cell.core.start[axis]
            rest = [a for a in range(3) if a != axis]
            assert all(other.core.start[a] == cell.core.start[a] for a in rest)


@pytest.mark.parametrize("size", [(4, 8, 10), (10, 20, 33), (7, 19, 31), (10, 8, 33)])
def test_no_two_cells_write_the_same_shard(size):
    cells = Cells(OUTER, size, (0, 0, 0))
    chunk, shard = layout(cells, (40.0, 4.0, 4.0))
    for axis in range(3):
        assert shard[axis] % chunk[axis] == 0
        if size[axis] < OUTER.size[axis]:
            assert size[axis] % shard[axis] == 0


def test_a_part_of_an_array():
    array = np.arange(10 * 20 * 33).reshape(OUTER.size)
    box = Box((5, 6, 2), (2, 3, 4))
    np.testing.assert_array_equal(cut(array, box, OUTER), array[2:4, 1:4, 2:6])
    np.testing.assert_array_equal(cut(array[None], box, OUTER)[0], cut(array, box, OUTER))


def test_what_is_no_size_is_refused():
    with pytest.raises(InputError, match="fragment_size=\\(4, 0, 8\\)"):
        choose_cells(OUTER, None, (4, 0, 8))
