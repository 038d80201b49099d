"""Candidates: equal boxes that cover a volume, of which some are proposed for labelling."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.geometry.sizes import Size

# Candidates, and voxels, that a block has at most.
_TOGETHER = 64
_BLOCK_VOXELS = 1 << 24


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Boxes of one size, side by side; what is left at the end of an axis, less than a box, is no candidate.

    Attributes:
        outer: what they are of.
        size: (z, y, x) voxels of each.
    """

    outer: Box
    size: Size

    @classmethod
    def covering(cls, outer: Box, size: Size, field: str) -> Candidates:
        """Returns the candidates of a size.

        Args:
            outer: part of the volume that may be proposed.
            size: (z, y, x) voxels; 0: as long as the part, as in (1, 0, 0) for whole sections.
            field: configuration field that the size is of, for messages.

        Raises:
            InputError: if it is no size, or larger than the part.
        """
        if len(size) != 3 or any(not isinstance(s, int) or s < 0 for s in size):
            raise InputError(
                f"{field}={size}: needs three whole numbers, z, y, x voxels; 0: as long as the volume"
            )
        full = tuple(s or n for s, n in zip(size, outer.size, strict=True))
        if any(s > n for s, n in zip(full, outer.size, strict=True)):
            raise InputError(
                f"{field}={size} is larger than the {outer.size} voxels to choose from; give a smaller one"
            )
        return cls(outer, full)

    @property
    def grid(self) -> Grid:
        """The candidates as a grid, which numbers them."""
        kept = tuple(n // s * s for n, s in zip(self.outer.size, self.size, strict=True))
        return Grid(Box(self.outer.start, kept), self.size)

    @property
    def blocks(self) -> Grid:
        """Blocks of whole candidates, which are worked on together."""
        counts, shape = [1, 1, 1], self.grid.shape
        for axis in (2, 1, 0):
            room = min(
                _TOGETHER // math.prod(counts),
                _BLOCK_VOXELS // (math.prod(self.size) * math.prod(counts)),
            )
            counts[axis] = max(1, min(room, shape[axis]))
        size = tuple(c * s for c, s in zip(counts, self.size, strict=True))
        return Grid(self.grid.outer, size)

    def within(self, block: Block) -> list[Block]:
        """Returns the candidates of a block, with their numbers in `grid`."""
        grid = self.grid
        first = np.subtract(block.core.start, grid.outer.start) // grid.core_size
        counts = np.floor_divide(block.core.size, grid.core_size)
        _, rows, columns = grid.shape
        ranges = [range(f, f + n) for f, n in zip(first.tolist(), counts.tolist(), strict=True)]
        return [grid[(z * rows + y) * columns + x] for z, y, x in itertools.product(*ranges)]


def windows_in(box: Box, window: Size, volume: Size, most: int) -> list[Box]:
    """Returns windows spread evenly over a box, as many as cover it, but not more than a number.

    Args:
        box: in voxels of the volume.
        window: (z, y, x) voxels.
        volume: (z, y, x) voxels of the volume, which windows do not leave, but where it is smaller than one.
        most: largest number of windows.
    """
    counts = [math.ceil(n / w) for n, w in zip(box.size, window, strict=True)]
    while math.prod(counts) > most:
        counts[int(np.argmax(counts))] -= 1
    starts = []
    for axis, count in enumerate(counts):
        centres = box.start[axis] + (np.arange(count) + 0.5) / count * box.size[axis]
        room = max(0, volume[axis] - window[axis])
        places = np.clip(np.floor(centres - window[axis] / 2 + 0.5), 0, room)
        starts.append(places.astype(int).tolist())
    return [Box((z, y, x), tuple(window)) for z, y, x in itertools.product(*starts)]
