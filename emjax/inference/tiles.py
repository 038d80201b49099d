"""Tiles: where they lie in a volume, and the weight of each at a voxel.

The lattice of tiles belongs to the volume, not to a block, so that a voxel is blended from the same tiles however the
volume is cut into blocks. A weight is a product of one factor for each axis, and so is the sum of weights at a voxel:
dividing the factors by their sums along each axis makes the weights of all tiles at a voxel add up to 1, without a
second volume of weights.
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
from emjax.geometry.grid import Cores
from emjax.geometry.sizes import Size

BLENDINGS = ("gaussian", "linear")
LEAST_OVERLAP = 0.25
# Standard deviation of Gaussian weights, as a share of the side of a tile.
_SIGMA = 0.125


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Tiles of one size that cover a volume.

    A volume shorter than a tile is mirrored behind its last voxel up to a tile's length, as in training.

    Attributes:
        size: (z, y, x) voxels of the volume.
        tile_size: (z, y, x) voxels of a tile.
        overlap: share of a tile that it has in common with the next one along each axis, 0.25 or more.
        blending: 'gaussian', or 'linear': flat, with ramps as long as the overlap.
        offsets: (z, y, x) offset of each channel that is an affinity, None for any other. An affinity is taken only
            from tiles that hold both of its voxels, since the network had no labels to learn it elsewhere.
    """

    size: Size
    tile_size: Size
    overlap: float = 0.5
    blending: str = "gaussian"
    offsets: tuple[Size | None, ...] = (None,)

    def __post_init__(self) -> None:
        """Raises InputError if the tile size, overlap or blending is invalid."""
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
        """Distance (z, y, x) from tile to tile, voxels."""
        return tuple(max(1, p - math.ceil(self.overlap * p)) for p in self.tile_size)

    @functools.cached_property
    def starts(self) -> tuple[np.ndarray, ...]:
        """First voxels of the tiles along z, y, x: for each axis `[tiles]` int."""
        lattice = zip(self.size, self.tile_size, self.stride, strict=True)
        return tuple(positions(n, p, s) for n, p, s in lattice)

    @functools.cached_property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Factors of the weights along z, y, x: for each axis `[tiles, channels, voxels of a tile]` float32."""
        return tuple(self._axis_weights(axis) for axis in range(3))

    def __len__(self) -> int:
        """Number of tiles."""
        return math.prod(len(starts) for starts in self.starts)

    def covering(self, box: Box) -> list[Size]:
        """Returns the (z, y, x) indices in the lattice, in its order, of all tiles that overlap with a box."""
        ranges = [
            range(*self._touching(axis, box.start[axis], box.stop[axis])) for axis in range(3)
        ]
        return list(itertools.product(*ranges))

    def count(self, grid: Cores, indices: np.ndarray) -> int:
        """Returns the number of tiles of blocks, counting a tile once for each block that it overlaps with.

        Args:
            grid: grid of the blocks.
            indices: `[n]` numbers of the blocks; there may be millions.
        """
        tiles = np.ones(len(indices), np.int64)
        _, rows, columns = grid.shape
        steps = (rows * columns, columns, 1)
        places = np.unravel_index(indices, grid.shape)
        for axis, (place, step, count) in enumerate(zip(places, steps, grid.shape, strict=True)):
            # Blocks that differ along other axes have as many tiles along this one.
            cores = [grid[i * step].core for i in range(count)]
            touched = [self._touching(axis, core.start[axis], core.stop[axis]) for core in cores]
            tiles *= np.asarray([last - first for first, last in touched])[place]
        return int(tiles.sum())

    def region(self, box: Box) -> Box:
        """Returns the box of all tiles that overlap with a box; it exceeds the volume where that is mirrored."""
        start, stop = [], []
        for axis, starts in enumerate(self.starts):
            first, last = self._touching(axis, box.start[axis], box.stop[axis])
            start.append(int(starts[first]))
            stop.append(int(starts[last - 1]) + self.tile_size[axis])
        return Box.between(tuple(start), tuple(stop))

    def buffer_size(self, grid: Cores) -> Size:
        """Returns a (z, y, x) size that holds the region of any block, and a full block from its core's start on."""
        _, rows, columns = grid.shape
        sides = []
        for axis, step in enumerate((rows * columns, columns, 1)):
            longest = 0
            # Only blocks that differ along this axis, since the other axes do not matter.
            for index in range(grid.shape[axis]):
                core = grid[index * step].core
                region = self.region(core)
                lead = core.start[axis] - region.start[axis]
                longest = max(longest, region.size[axis], lead + grid.core_size[axis])
            sides.append(longest)
        return tuple(sides)

    def _touching(self, axis: int, start: int, stop: int) -> tuple[int, int]:
        """Returns the index of the first tile along an axis that overlaps with a range, and one past the last."""
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
            # Where no tile holds both voxels of an affinity (one lies outside of the volume, or the offset is longer
            # than the overlap), use the plain weight.
            weight = np.where(total[places] > 0, weight, plain)
            total = np.bincount(places.ravel(), weight.ravel(), length)
            made[shift] = weight / total[places]
        shifts = [offset[axis] if offset else 0 for offset in self.offsets]
        return np.stack([made[shift] for shift in shifts], axis=1).astype(np.float32)


def positions(size: int, tile: int, stride: int) -> np.ndarray:
    """Returns where tiles begin along one axis: every `stride` voxels, but the last tile ends with the volume.

    Args:
        size: voxels of the volume.
        tile: voxels of a tile.
        stride: voxels from tile to tile.

    Returns:
        `[1 + ceil((size - tile) / stride)]` int; only 0 if the volume is no longer than a tile.
    """
    last = max(size - tile, 0)
    return np.minimum(np.arange(0, last + stride, stride), last)


def blend(tile: int, blending: str, overlap: int) -> np.ndarray:
    """Returns the weight of each voxel of a tile along one axis, in (0, 1].

    Args:
        tile: voxels of the tile.
        blending: 'gaussian' or 'linear'.
        overlap: voxels shared with the next tile; the length of a linear ramp.

    Returns:
        `[tile]` float64, symmetric, never 0, since a voxel at the border of the volume may lie in only one tile.
    """
    place = np.arange(tile)
    if blending == "gaussian":
        return np.exp(-0.5 * ((place - (tile - 1) / 2) / (_SIGMA * tile)) ** 2)
    from_border = np.minimum(place + 1, tile - place)
    return np.minimum(1.0, from_border / (overlap + 1))
