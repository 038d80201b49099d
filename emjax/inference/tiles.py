"""Where tiles lie, and how much each of them counts at a voxel.

The lattice is that of the volume, not of a block, so that a voxel is the blend of the same tiles however the volume is
cut into blocks. Weights are products of one factor for each axis, and so are their sums: dividing the factors by the
sums of their axis makes the weights of all tiles at a voxel add up to 1, without a second volume of weights.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math

import numpy as np

from emjax.config import nearest
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.geometry.sizes import Size

BLENDINGS = ("gaussian", "linear")
LEAST_OVERLAP = 0.25
# Of the side of a tile.
_SIGMA = 0.125


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Tiles of one size that cover a volume.

    A volume shorter than a tile is mirrored up to it, behind its last voxel as in training.

    Attributes:
        size: (z, y, x) voxels of the volume.
        tile_size: (z, y, x) voxels of a tile.
        overlap: part of a tile that the next one shares along each axis, 0.25 or more.
        blending: 'gaussian', or 'linear': flat, with ramps as long as the overlap.
        offsets: (z, y, x) of each channel that is an affinity, None for any other. An affinity is taken from tiles
            that hold both ends of its edge: of the others the network had no label to learn from.
    """

    size: Size
    tile_size: Size
    overlap: float = 0.5
    blending: str = "gaussian"
    offsets: tuple[Size | None, ...] = (None,)

    def __post_init__(self) -> None:
        """Raises InputError on a tile, overlap or blending that cannot work."""
        if len(self.tile_size) != 3 or min(self.tile_size) < 1:
            raise InputError(f"tile_size={self.tile_size} needs three sizes, z, y, x, of 1 or more")
        if not LEAST_OVERLAP <= self.overlap < 1:
            raise InputError(
                f"overlap={self.overlap} must be {LEAST_OVERLAP} or more and below 1: less shows the borders of tiles"
            )
        if self.blending not in BLENDINGS:
            raise InputError(
                f"blending='{self.blending}' is unknown{nearest(self.blending, BLENDINGS)}"
            )

    @property
    def stride(self) -> Size:
        """(z, y, x) voxels from tile to tile."""
        return tuple(max(1, p - math.ceil(self.overlap * p)) for p in self.tile_size)

    @functools.cached_property
    def starts(self) -> tuple[np.ndarray, ...]:
        """First voxels of the tiles along z, y, x."""
        lattice = zip(self.size, self.tile_size, self.stride, strict=True)
        return tuple(positions(n, p, s) for n, p, s in lattice)

    @functools.cached_property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Factors of the weights along z, y, x: `[tiles, channels, voxels of a tile]` float32."""
        return tuple(self._axis_weights(axis) for axis in range(3))

    def __len__(self) -> int:
        """Number of tiles."""
        return math.prod(len(starts) for starts in self.starts)

    def covering(self, box: Box) -> list[Size]:
        """Returns the places in the lattice, in its order, of all tiles that share a voxel with a box."""
        ranges = [
            range(*self._touching(axis, box.start[axis], box.stop[axis])) for axis in range(3)
        ]
        return list(itertools.product(*ranges))

    def region(self, box: Box) -> Box:
        """Returns the box that all tiles covering a box lie in; longer than the volume where that is mirrored."""
        start, stop = [], []
        for axis, starts in enumerate(self.starts):
            first, last = self._touching(axis, box.start[axis], box.stop[axis])
            start.append(int(starts[first]))
            stop.append(int(starts[last - 1]) + self.tile_size[axis])
        return Box.between(tuple(start), tuple(stop))

    def buffer_size(self, grid: Grid) -> Size:
        """Returns (z, y, x) voxels that hold the region of any block, and a whole block where its core begins."""
        _, rows, columns = grid.shape
        sides = []
        for axis, step in enumerate((rows * columns, columns, 1)):
            longest = 0
            # Blocks that differ along this axis alone: the others do not matter.
            for index in range(grid.shape[axis]):
                core = grid[index * step].core
                region = self.region(core)
                lead = core.start[axis] - region.start[axis]
                longest = max(longest, region.size[axis], lead + grid.core_size[axis])
            sides.append(longest)
        return tuple(sides)

    def _touching(self, axis: int, start: int, stop: int) -> tuple[int, int]:
        """Returns the first tile along an axis that shares a voxel with a range, and the one after the last."""
        starts = self.starts[axis]
        first = int(np.searchsorted(starts + self.tile_size[axis], start, side="right"))
        return first, int(np.searchsorted(starts, stop, side="left"))

    def _axis_weights(self, axis: int) -> np.ndarray:
        starts, tile = self.starts[axis], self.tile_size[axis]
        length = max(self.size[axis], tile)
        places = starts[:, None] + np.arange(tile)
        plain = np.broadcast_to(blend(tile, self.blending, tile - self.stride[axis]), places.shape)
        made = {}
        for shift in {offset[axis] if offset else 0 for offset in self.offsets}:
            partner = np.arange(tile) + shift
            seen = (partner >= 0) & (partner < tile)
            weight = plain * seen
            total = np.bincount(places.ravel(), weight.ravel(), length)
            # No tile holds both ends of an edge that leaves the volume, or that is longer than the overlap.
            weight = np.where(total[places] > 0, weight, plain)
            total = np.bincount(places.ravel(), weight.ravel(), length)
            made[shift] = weight / total[places]
        shifts = [offset[axis] if offset else 0 for offset in self.offsets]
        return np.stack([made[shift] for shift in shifts], axis=1).astype(np.float32)


def positions(size: int, tile: int, stride: int) -> np.ndarray:
    """Returns where tiles begin along one axis: every `stride`, the last tucked in so that it ends with the volume.

    Args:
        size: voxels of the volume.
        tile: voxels of a tile.
        stride: voxels from tile to tile.

    Returns:
        `[1 + ceil((size - tile) / stride)]` int; just 0 where the volume is no longer than a tile.
    """
    last = max(size - tile, 0)
    return np.minimum(np.arange(0, last + stride, stride), last)


def blend(tile: int, blending: str, overlap: int) -> np.ndarray:
    """Returns how much each voxel of a tile counts along one axis, in (0, 1].

    Args:
        tile: voxels of the tile.
        blending: 'gaussian' or 'linear'.
        overlap: voxels shared with the next tile; the length of a linear ramp.

    Returns:
        `[tile]` float64, symmetric, never 0: at the border of the volume a voxel may have one tile alone.
    """
    place = np.arange(tile)
    if blending == "gaussian":
        return np.exp(-0.5 * ((place - (tile - 1) / 2) / (_SIGMA * tile)) ** 2)
    from_border = np.minimum(place + 1, tile - place)
    return np.minimum(1.0, from_border / (overlap + 1))
