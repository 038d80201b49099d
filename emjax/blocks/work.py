"""What is done with each block, declared: what it reads around the block, what it computes, and where that goes.

The engine opens what is read, reads it, calls `compute` and writes what that returns; a block is done once that is on
disk. A work that would have to hold too much that way (cells of a block, pieces of a pyramid) declares no reads, and
reads by itself through `open_once` within `compute`.
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
    """Where the results of blocks go; picklable."""

    def write(self, block: Block, result: Any, run: str) -> None:
        """Writes the result of a block, and returns once it survives a loss of power."""
        ...


@dataclasses.dataclass(frozen=True)
class Parts:
    """Results are named arrays, a file for each block (`emjax.blocks.parts`).

    Attributes:
        folder: of the files.
    """

    folder: str

    def write(self, block: Block, result: Mapping[str, np.ndarray], run: str) -> None:
        """See `Sink`."""
        write_part(part_path(self.folder, block.index), result)


@dataclasses.dataclass(frozen=True)
class Voxels:
    """Results are the voxels of the block's core, `[z, y, x]` or `[c, z, y, x]`, in a volume that was made before.

    Attributes:
        output: the volume.
        start: (z, y, x) voxel of the grid that the volume begins at.
        level: of the volume's pyramid.
    """

    output: Output
    start: Size = (0, 0, 0)
    level: int = 0

    def write(self, block: Block, result: np.ndarray, run: str) -> None:
        """See `Sink`; of whole shards TensorStore returns once they are on disk."""
        place = block.core.translate(tuple(-s for s in self.start))
        store = open_output_once(self.output, self.level, run)
        store[(..., *place.slices)].write(result).result()


@dataclasses.dataclass(frozen=True)
class BlockWork(abc.ABC):
    """Work on blocks; frozen, and picklable for the workers of a cluster.

    Attributes:
        run: name of the run: what its processes open is not what an earlier run of theirs opened.
    """

    run: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex, kw_only=True)

    @property
    @abc.abstractmethod
    def sink(self) -> Sink:
        """Where the results go."""

    def reads(self, block: Block) -> Sequence[tuple[str | Volume, Box]]:
        """Returns what is read for a block, and which box of it: the block's core and what it needs around it.

        Volumes are named by their absolute addresses; a work that never leaves this process may give open ones.
        """
        return ()

    @abc.abstractmethod
    def compute(self, block: Block, *voxels: np.ndarray) -> Any:
        """Returns the result of a block.

        Args:
            block: of the grid.
            *voxels: what `reads` asked for, in its order.

        Raises:
            InputError: if the input is wrong: then no other try is made.
        """

    def __call__(self, block: Block) -> None:
        """Works on one block, and returns once its result is on disk."""
        asked = [(self._open(volume), box) for volume, box in self.reads(block)]
        # All begun before any is waited for: they are on their way at once.
        begun = [volume.begin_read(box) for volume, box in asked]
        result = self.compute(block, *[wait() for wait in begun])
        self.sink.write(block, result, self.run)

    def _open(self, volume: str | Volume) -> Volume:
        return volume if isinstance(volume, Volume) else open_once(volume, self.run)
