"""The cells of a volume: where fragments are made, the same however the volume is cut into blocks.

A cell is segmented with a halo around it and then cut out. Cells lie on a lattice that is fixed by the volume and by
`fragment_size`, never by blocks or workers, and a fragment's id says which cell it is of. So fragments are a function
of the input alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.geometry.sizes import Size, Triple
from emjax.volumes.write.pyramid import chunk_size, shard_size

# Volumes of up to so many voxels are one cell; of larger ones a cell with its halo has about as many.
_WHOLE = 1 << 25
# Voxels of the finest axis that a cell sees around it, by default.
_HALO = 32


@dataclasses.dataclass(frozen=True)
class Cells:
    """Cuts a box of a volume into cells, x fastest.

    Attributes:
        outer: the box, in voxels of the volume.
        size: (z, y, x) voxels of a cell; the last along an axis may be smaller.
        halo: (z, y, x) voxels that a cell is read with on each side.
    """

    outer: Box
    size: Size
    halo: Size

    @property
    def grid(self) -> Grid:
        """The lattice."""
        return Grid(self.outer, self.size, self.halo)

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.grid)

    def first_id(self, index: int) -> int:
        """Returns what the ids 1, 2, ... of a cell's fragments are added to.

        No two cells share an id, and none has 64 bits before the volume has 2**63 voxels.
        """
        return index * math.prod(self.size)

    def within(self, box: Box) -> Iterator[Block]:
        """Yields the cells of a box that is made of cells, in order."""
        grid = self.grid
        _, rows, columns = grid.shape
        places = [
            range((first - start) // side, -(-(last - start) // side))
            for first, last, start, side in zip(
                box.start, box.stop, self.outer.start, self.size, strict=True
            )
        ]
        for z in places[0]:
            for y in places[1]:
                for x in places[2]:
                    yield grid[(z * rows + y) * columns + x]

    def below(self, cell: Block, axis: int) -> Block | None:
        """Returns the cell before another one along an axis; None at the border."""
        _, rows, columns = self.grid.shape
        if cell.core.start[axis] == self.outer.start[axis]:
            return None
        return self.grid[cell.index - (rows * columns, columns, 1)[axis]]

    def inside(self, box: Box) -> Box:
        """Returns a box in voxels from where the outer box begins: where outputs have it."""
        return box.translate(tuple(-start for start in self.outer.start))


def choose_cells(
    outer: Box,
    voxel_nm: Triple | None,
    size: Sequence[int] = (),
    halo: Sequence[int] | None = None,
) -> Cells:
    """Chooses the cells of a box.

    Args:
        outer: in voxels of the volume.
        voxel_nm: (z, y, x) nm; None is taken as isotropic.
        size: (z, y, x) voxels of a cell; (): one for a volume of up to 2**25 voxels, else about
            2**24 voxels, about as long in nm along each axis.
        halo: (z, y, x) voxels; (): 32 voxels of the finest axis, as long in nm along the others, and
            at least 1; None: none.

    Raises:
        InputError: if the size is none.
    """
    chosen = tuple(size)
    if chosen and (len(chosen) != 3 or min(chosen) < 1):
        raise InputError(
            f"fragment_size={chosen}: needs three whole numbers of 1 or more, z, y, x voxels"
        )
    if not chosen:
        whole = outer.volume <= _WHOLE
        chosen = outer.size if whole else shard_size(outer.size, chunk_size(outer.size, voxel_nm))
    chosen = tuple(min(c, n) for c, n in zip(chosen, outer.size, strict=True))
    nm = voxel_nm or (1.0, 1.0, 1.0)
    margin = (0, 0, 0) if halo is None else tuple(halo)
    if halo is not None and not margin:
        margin = tuple(max(1, round(_HALO * min(nm) / side)) for side in nm)
    return Cells(outer, chosen, margin)


def choose_blocks(cells: Cells, block_size: Sequence[int]) -> Grid:
    """Returns blocks made of whole cells; one cell each by default.

    Raises:
        InputError: if `block_size` is no multiple of the cells; names sizes that are.
    """
    block = tuple(block_size) or cells.size
    fits = [
        b % c == 0 or b >= n for b, c, n in zip(block, cells.size, cells.outer.size, strict=True)
    ]
    if not all(fits):
        nearest = ",".join(
            str(max(1, round(b / c)) * c) for b, c in zip(block, cells.size, strict=True)
        )
        raise InputError(
            f"block_size={block} is no multiple of the cells of {cells.size} voxels in which fragments are made; use "
            f"{nearest}, or set fragment_size"
        )
    return Grid(cells.outer, block)


def layout(cells: Cells, voxel_nm: Triple | None) -> tuple[Size, Size]:
    """Returns (z, y, x) voxels of the chunks and shards of a volume that is written cell by cell.

    No two cells share a shard.
    """
    chunks, shards = [], []
    outer, best = cells.outer.size, chunk_size(cells.outer.size, voxel_nm)
    for side, length, chunk in zip(cells.size, outer, best, strict=True):
        if side >= length:
            # One cell along this axis: nothing to be aligned with.
            chunks.append(chunk)
            shards.append(shard_size((length,) * 3, (chunk,) * 3)[0])
            continue
        parts = next(n for n in range(-(-side // chunk), side + 1) if side % n == 0)
        # A side with few divisors would have chunks of a voxel or two.
        parts = parts if side // parts >= min(chunk, 8) else 1
        chunks.append(side // parts)
        together = max(n for n in range(1, 5) if parts % n == 0)
        shards.append(side // parts * together)
    return tuple(chunks), tuple(shards)


def cut(array: np.ndarray, box: Box, outer: Box) -> np.ndarray:
    """Returns the part of an array that is a box, where the array is another box.

    Args:
        array: `[..., z, y, x]`, the voxels of `outer`.
        box: within `outer`.
        outer: where the array lies.
    """
    moved = box.translate(tuple(-start for start in outer.start))
    return array[(..., *moved.slices)]
