"""Grids of blocks cover their box once."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid


def test_grid_by_hand() -> None:
    grid = Grid(Box((1, 0, 0), (2, 4, 5)), (2, 4, 2), (1, 1, 1))
    assert grid.shape == (1, 1, 3)
    assert len(grid) == 3
    assert grid[1] == Block(1, Box((1, 0, 2), (2, 4, 2)), Box((1, 0, 1), (2, 4, 4)))
    assert grid[2] == Block(2, Box((1, 0, 4), (2, 4, 1)), Box((1, 0, 3), (2, 4, 2)))


@pytest.mark.parametrize("core_size", [(1, 1, 1), (3, 4, 5), (2, 7, 3), (20, 20, 20)])
def test_cores_cover_the_outer_box_once(core_size: tuple[int, int, int]) -> None:
    outer = Box((2, 0, 3), (5, 7, 6))
    count = np.zeros((10, 10, 10), int)
    for number, block in enumerate(Grid(outer, core_size, (1, 2, 0))):
        assert block.index == number
        assert outer.contains(block.read)
        assert block.read.contains(block.core)
        count[block.core.slices] += 1
    expected = np.zeros_like(count)
    expected[outer.slices] = 1
    np.testing.assert_array_equal(count, expected)


def test_x_is_fastest() -> None:
    grid = Grid(Box((0, 0, 0), (2, 3, 4)), (1, 1, 1))
    assert [b.core.start for b in grid] == list(np.ndindex(2, 3, 4))


def test_mistakes() -> None:
    with pytest.raises(InputError, match=r"block_size=\(0, 1, 1\).*1 or more"):
        Grid(Box((0, 0, 0), (4, 4, 4)), (0, 1, 1))
    with pytest.raises(InputError, match="halo 0 or more"):
        Grid(Box((0, 0, 0), (4, 4, 4)), (1, 1, 1), (0, -1, 0))
    with pytest.raises(IndexError, match="block 64 of 64"):
        Grid(Box((0, 0, 0), (4, 4, 4)), (1, 1, 1))[64]
