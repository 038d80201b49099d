"""Blocks of one voxel size, predicted at another: what each block needs of the network's grid."""

from __future__ import annotations

import dataclasses
import functools

from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.geometry.sizes import Size
from emjax.volumes.resampling import Resampling


@dataclasses.dataclass(frozen=True)
class ResampledGrid:
    """The blocks of a grid, each as the box of another grid that it is interpolated from; such boxes overlap.

    Attributes:
        grid: of the blocks that are written.
        resampling: its stored voxels are those of the boxes, its target those of the blocks.
    """

    grid: Grid
    resampling: Resampling

    @property
    def shape(self) -> Size:
        """(z, y, x) number of blocks."""
        return self.grid.shape

    @property
    def core_size(self) -> Size:
        """(z, y, x) voxels of a box that holds every block's."""
        return _longest(self)

    def __getitem__(self, index: int) -> Block:
        """Returns the block of a number: what it needs, in voxels of the other grid."""
        box: Box = self.resampling.reads(self.grid[index].core)
        return Block(index, box, box)


@functools.lru_cache(4)
def _longest(grid: ResampledGrid) -> Size:
    _, rows, columns = grid.shape
    sides = []
    for axis, step in enumerate((rows * columns, columns, 1)):
        # Only blocks that differ along this axis, since the other axes do not matter.
        boxes = (grid[index * step].core for index in range(grid.shape[axis]))
        sides.append(max(box.size[axis] for box in boxes))
    return tuple(sides)
