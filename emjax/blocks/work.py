"""Declares the work on each block: what is read around the block, what is computed, and where the result goes.

A work, when called with a block, opens and reads what `reads` names, calls `compute`, and writes the result; the block
is done once the result is on disk. A work that would have to hold too much memory this way (cells of a block, pieces of
a pyramid) declares no reads, and reads through `open_once` within `compute`.
"""

from __future__ import annotations

import abc
import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from emjax.blocks.opening import open_once, open_output_once
from emjax.blocks.parts import part_path, write_part
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.geometry.sizes import Size
from emjax.volumes.volume import Volume
from emjax.volumes.write.output import Output


class Sink(Protocol):
    """A destination for the results of blocks; picklable."""

    def write(self, block: Block, result: Any, run: str) -> None:
        """Writes the result of a block, and returns once it survives a loss of power."""
        ...


@dataclasses.dataclass(frozen=True)
class Parts:
    """A sink for named arrays, which writes one file for each block (`emjax.blocks.parts`).

    Attributes:
        folder: folder of the files.
    """

    folder: str

    def write(self, block: Block, result: Mapping[str, np.ndarray], run: str) -> None:
        """Writes the arrays of a block to its file; see `Sink`."""
        write_part(part_path(self.folder, block.index), result)


@dataclasses.dataclass(frozen=True)
class Voxels:
    """A sink that writes the voxels of the block's core, `[z, y, x]` or `[c, z, y, x]`, to an existing volume.

    Attributes:
        output: the volume.
        start: (z, y, x) voxel of the grid at which the volume begins.
        level: level of the volume's pyramid.
    """

    output: Output
    start: Size = (0, 0, 0)
    level: int = 0

    def write(self, block: Block, result: np.ndarray, run: str) -> None:
        """Writes the voxels of a block; TensorStore returns once its shards are on disk. See `Sink`."""
        place = block.core.translate(tuple(-s for s in self.start))
        store = open_output_once(self.output, self.level, run)
        store[(..., *place.slices)].write(result).result()


@dataclasses.dataclass(frozen=True)
class BlockWork(abc.ABC):
    """The work on each block of a grid; frozen, and picklable for the workers of a cluster.

    Attributes:
        run: unique name of the run, so that its processes do not reuse what an earlier run opened.
    """

    run: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex, kw_only=True)

    @property
    @abc.abstractmethod
    def sink(self) -> Sink:
        """Destination of the results."""

    def reads(self, block: Block) -> Sequence[tuple[str | Volume, Box]]:
        """Returns each volume that is read for a block, and the box that is read: the core and what it needs around it.

        Volumes are given by their absolute addresses; a work that never leaves this process may give open volumes.
        """
        return ()

    @abc.abstractmethod
    def compute(self, block: Block, *voxels: np.ndarray) -> Any:
        """Returns the result of a block.

        Args:
            block: the block to work on.
            *voxels: the voxels that `reads` asked for, in its order.

        Raises:
            InputError: if the input is wrong; the block is then not tried again.
        """

    def __call__(self, block: Block) -> None:
        """Works on one block, and returns once its result is on disk."""
        asked = [(self._open(volume), box) for volume, box in self.reads(block)]
        # Begin all reads before waiting for the first, so that they run at the same time.
        begun = [volume.begin_read(box) for volume, box in asked]
        result = self.compute(block, *[wait() for wait in begun])
        self.sink.write(block, result, self.run)

    def _open(self, volume: str | Volume) -> Volume:
        return volume if isinstance(volume, Volume) else open_once(volume, self.run)
