"""The work of `convert` on one block: copied from any volume, or pooled from the finer level."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import tensorstore as ts

from emjax.blocks.opening import open_output_once
from emjax.blocks.work import BlockWork, Voxels
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.geometry.sizes import Size
from emjax.volumes.chunk_sides import read_sides
from emjax.volumes.write.casting import Cast
from emjax.volumes.write.output import Output
from emjax.volumes.write.pooling import pool

# Of the finer level read at a time.
_PIECE_BYTES = 1 << 24


@dataclasses.dataclass(frozen=True)
class Copy(BlockWork):
    """Copies a block to full resolution.

    Attributes:
        input: address of a volume.
        output: where to.
        cast: what becomes of the values.
        start: (z, y, x) voxel of the input that the output begins at.
    """

    input: str
    output: Output
    cast: Cast
    start: Size

    @property
    def sink(self) -> Voxels:
        """See `BlockWork`."""
        return Voxels(self.output, self.start)

    def reads(self, block: Block) -> Sequence[tuple[str, Box]]:
        """Returns the block itself, in voxels of the input."""
        return ((self.input, block.core),)

    def compute(self, block: Block, voxels: np.ndarray) -> np.ndarray:
        """Returns the voxels as they are stored.

        Raises:
            InputError: if a value cannot be held, naming the box.
        """
        try:
            return self.cast(voxels)
        except InputError as error:
            raise InputError(f"{self.input}{block.core}: {error}") from error


@dataclasses.dataclass(frozen=True)
class Pool(BlockWork):
    """Makes a block of a level from the next finer one.

    Attributes:
        output: holds both.
        level: that is made.
        factor: (z, y, x) voxels of the finer level that one voxel is made of.
        method: 'mean' or 'mode'.
    """

    output: Output
    level: int
    factor: Size
    method: str

    @property
    def sink(self) -> Voxels:
        """See `BlockWork`."""
        return Voxels(self.output, level=self.level)

    def compute(self, block: Block) -> np.ndarray:
        """Returns a block, in voxels of the level.

        The finer voxels of a block are eight blocks: they are read piece by piece, each while the one before is pooled.
        """
        channels = self._finer.shape[:-3]
        made = np.empty((*channels, *block.core.size), self._finer.dtype.numpy_dtype)
        inner = tuple(-s for s in block.core.start)
        for piece, voxels in self._read(block):
            made[(..., *piece.translate(inner).slices)] = pool(voxels, self.factor, self.method)
        return made

    def _read(self, block: Block) -> Iterator[tuple[Box, np.ndarray]]:
        """Reads the finer voxels of pieces of a block, one ahead."""
        pieces = [piece.core for piece in Grid(block.core, self._piece_size(block))]
        whole = Box((0, 0, 0), tuple(self._finer.shape[-3:]))
        reading = None
        for piece in [*pieces, None]:
            before, reading = reading, None
            if piece is not None:
                finer = Box(_times(piece.start, self.factor), _times(piece.size, self.factor))
                box = finer.clip(whole)
                reading = (piece, self._finer[(..., *box.slices)].read())
            if before is not None:
                yield before[0], before[1].result()

    def _piece_size(self, block: Block) -> Size:
        """Returns (z, y, x) voxels made at a time: of whole chunks of the finer level, as many as are small."""
        layout = read_sides(self._finer)[-3:]
        voxel_bytes = self._finer.dtype.numpy_dtype.itemsize * math.prod(self._finer.shape[:-3])
        size = tuple(max(1, c // f) for c, f in zip(layout, self.factor, strict=True))
        # x first: neighbours in a file.
        for axis in (2, 1, 0):
            while size[axis] < block.core.size[axis]:
                larger = tuple(n * (1 + (a == axis)) for a, n in enumerate(size))
                if math.prod(larger) * math.prod(self.factor) * voxel_bytes > _PIECE_BYTES:
                    break
                size = larger
        return size

    @property
    def _finer(self) -> ts.TensorStore:
        return open_output_once(self.output, self.level - 1, self.run)


def _times(size: Size, factor: Size) -> Size:
    return tuple(n * f for n, f in zip(size, factor, strict=True))
