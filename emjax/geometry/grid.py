"""Grids of blocks: work on a volume, addressed by one integer.

Follows the approach of connectomics' `box_generator`: any worker can compute its own list of blocks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Protocol

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size


@dataclasses.dataclass(frozen=True)
class Block:
    """One block of a grid.

    Attributes:
        index: its number in the grid.
        core: what it is to produce; the cores of a grid do not overlap and cover it.
        read: the core and its halo, as far as the grid's outer box reaches.
    """

    index: int
    core: Box
    read: Box


class Cores(Protocol):
    """What a prediction asks of a grid: the boxes that its blocks are to produce; they may overlap."""

    @property
    def shape(self) -> Size:
        """(z, y, x) number of blocks."""
        ...

    @property
    def core_size(self) -> Size:
        """(z, y, x) voxels of a box that holds every core."""
        ...

    def __getitem__(self, index: int, /) -> Block:
        """Returns the block of a number."""
        ...


@dataclasses.dataclass(frozen=True)
class Grid:
    """Cuts a box into blocks, x fastest; the last blocks of an axis may be smaller.

    Attributes:
        outer: what is covered.
        core_size: (z, y, x) voxels of a block.
        halo: (z, y, x) voxels read around a block.
    """

    outer: Box
    core_size: Size
    halo: Size = (0, 0, 0)

    def __post_init__(self) -> None:
        """Raises InputError on sizes that no block can have."""
        if any(size < 1 for size in self.core_size) or any(margin < 0 for margin in self.halo):
            raise InputError(
                f"block_size={self.core_size} and halo={self.halo}: a block needs 1 or more voxels along each "
                "axis, a halo 0 or more"
            )

    @property
    def shape(self) -> Size:
        """(z, y, x) number of blocks."""
        return tuple(-(-n // c) for n, c in zip(self.outer.size, self.core_size, strict=True))

    def __len__(self) -> int:
        """Number of blocks."""
        return math.prod(self.shape)

    def __getitem__(self, index: int) -> Block:
        """Returns the block of a number."""
        if not 0 <= index < len(self):
            raise IndexError(f"block {index} of {len(self)}")
        _, rows, columns = self.shape
        place = (index // (rows * columns), index // columns % rows, index % columns)
        corner = tuple(
            o + p * c for o, p, c in zip(self.outer.start, place, self.core_size, strict=True)
        )
        core = Box(corner, self.core_size).clip(self.outer)
        return Block(index, core, core.grow(self.halo).clip(self.outer))

    def __iter__(self) -> Iterator[Block]:
        """Goes over all blocks in order."""
        return (self[i] for i in range(len(self)))
