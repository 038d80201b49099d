"""The cells of a volume: the lattice in which fragments are made, whatever the blocks are.

A cell is segmented with a halo around it, which is then cut off. The lattice is fixed by the volume and by
`fragment_size`, never by blocks or workers, and the id of a fragment says which cell it is in. So fragments depend on
the input alone.
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

# Volumes of up to this many voxels are one cell; in larger ones a cell with its halo has about this many.
_WHOLE = 1 << 25


@dataclasses.dataclass(frozen=True)
class Cells:
    """Cuts a box of a volume into cells, x fastest.

    Attributes:
        outer: the box, in voxels of the volume.
        size: (z, y, x) voxels of a cell; the last along an axis may be smaller.
        halo: (z, y, x) voxels around a cell that are read too, on each side.
    """

    outer: Box
    size: Size
    halo: Size

    @property
    def grid(self) -> Grid:
        """The lattice of the cells, with their halo."""
        return Grid(self.outer, self.size, self.halo)

    def __len__(self) -> int:
        """Returns the number of cells."""
        return len(self.grid)

    def first_id(self, index: int) -> int:
        """Returns the number that is added to the ids 1, 2, ... of the fragments of a cell.

        No two cells share an id, and no id needs 64 bits unless the volume has 2**63 voxels or more.
        """
        return index * math.prod(self.size)

    def within(self, box: Box) -> Iterator[Block]:
        """Yields, in order, the cells of a box that consists of whole cells."""
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
        """Returns the preceding cell along an axis; None at the border."""
        _, rows, columns = self.grid.shape
        if cell.core.start[axis] == self.outer.start[axis]:
            return None
        return self.grid[cell.index - (rows * columns, columns, 1)[axis]]

    def inside(self, box: Box) -> Box:
        """Returns a box counted from the start of the outer box, as in outputs."""
        return box.translate(tuple(-start for start in self.outer.start))


def choose_cells(
    outer: Box,
    voxel_nm: Triple | None,
    size: Sequence[int] = (),
    halo: Sequence[int] | None = None,
    finest: int = 32,
) -> Cells:
    """Chooses the cells of a box.

    Args:
        outer: the box, in voxels of the volume.
        voxel_nm: (z, y, x) nm; None is taken as isotropic.
        size: (z, y, x) voxels of a cell; (): one for a volume of up to 2**25 voxels, else about
            2**24 voxels, about as long in nm along each axis.
        halo: (z, y, x) voxels; (): `finest` voxels of the finest axis, as long in nm along the others, and
            at least 1; None: no halo.
        finest: see `halo`.

    Raises:
        InputError: if the size is not three positive numbers.
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
        margin = tuple(max(1, round(finest * min(nm) / side)) for side in nm)
    return Cells(outer, chosen, margin)


def choose_blocks(cells: Cells, block_size: Sequence[int]) -> Grid:
    """Returns blocks that consist of whole cells; by default each block is one cell.

    Raises:
        InputError: if `block_size` is no multiple of the cell size; names sizes that are.
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
    """Returns the (z, y, x) voxels of the chunks and of the shards of a volume that is written cell by cell.

    No two cells share a shard.
    """
    chunks, shards = [], []
    outer, best = cells.outer.size, chunk_size(cells.outer.size, voxel_nm)
    for side, length, chunk in zip(cells.size, outer, best, strict=True):
        if side >= length:
            # There is one cell along this axis, so chunks need not be aligned with cells.
            chunks.append(chunk)
            shards.append(shard_size((length,) * 3, (chunk,) * 3)[0])
            continue
        parts = next(n for n in range(-(-side // chunk), side + 1) if side % n == 0)
        # A side with few divisors would lead to chunks of a voxel or two.
        parts = parts if side // parts >= min(chunk, 8) else 1
        chunks.append(side // parts)
        together = max(n for n in range(1, 5) if parts % n == 0)
        shards.append(side // parts * together)
    return tuple(chunks), tuple(shards)


def cut(array: np.ndarray, box: Box, outer: Box) -> np.ndarray:
    """Returns the part of an array that lies in a box.

    Args:
        array: `[..., z, y, x]`, the voxels of the box `outer`.
        box: within `outer`.
        outer: the box that the array covers.
    """
    moved = box.translate(tuple(-start for start in outer.start))
    return array[(..., *moved.slices)]
