"""The contracts of operations: local ones, and those that need to see the whole volume before they change a voxel."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.geometry.sizes import Size

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operation(abc.ABC):
    """One step of post-processing; its fields are its options, made by `number` and `choice` of methods' settings.

    Attributes:
        kind: its name in a chain.
        summary: what it does, as one line of the documentation.
        of: what it changes: 'labels' or 'image'.
    """

    kind: ClassVar[str]
    summary: ClassVar[str]
    of: ClassVar[str] = "labels"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Local(Operation):
    """An operation of which a voxel depends on voxels around it alone. The border of the volume is no edge."""

    @property
    @abc.abstractmethod
    def halo(self) -> Size:
        """Voxels on each side that decide a voxel, z, y, x."""

    @abc.abstractmethod
    def apply(self, voxels: np.ndarray) -> np.ndarray:
        """Returns the voxels changed.

        Those nearer to the border of the array than `halo` count only where that is the border of the volume.

        Args:
            voxels: `[z, y, x]`; labels are int64, dense within the block in the order of their ids, 0 is background.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Global(Operation):
    """An operation that gathers from all blocks, decides once, and then changes each block; of labels."""

    def reads(self, core: Box, outer: Box) -> Box:
        """Returns what `gather` needs to see of a block with this core: the core, unless a subclass says more."""
        del outer
        return core

    @abc.abstractmethod
    def gather(
        self, labels: np.ndarray, read: Box, block: Block, outer: Box
    ) -> dict[str, np.ndarray]:
        """Returns what is found in a block, as named arrays.

        Args:
            labels: `[z, y, x]` uint64 of the box `read`.
            read: as `reads` asked for.
            block: the block, of which only the core is its own.
            outer: the box of the whole volume.
        """

    @abc.abstractmethod
    def decide(self, grid: Grid, parts: Iterator[Arrays]) -> dict[str, np.ndarray]:
        """Returns the table that `change` needs, made of what all blocks found, in the order of the grid."""

    @abc.abstractmethod
    def change(self, labels: np.ndarray, block: Block, table: Arrays) -> np.ndarray:
        """Returns the labels `[z, y, x]` uint64 of the core of a block, changed as the table says."""
