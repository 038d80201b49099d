"""Writes the classes of voxels, block by block."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from emjax.blocks.work import BlockWork, Voxels
from emjax.geometry.grid import Block
from emjax.segmentation.channels import Channels
from emjax.segmentation.methods import METHODS
from emjax.volumes.resampling import Resampling
from emjax.volumes.write.zarr import ZarrOutput


@dataclasses.dataclass(frozen=True)
class MapClasses(BlockWork):
    """Gives each voxel of a block its class.

    Attributes:
        channels: the prediction.
        method: a name in `METHODS`, of a method of classes.
        settings: of the method.
        output: the class map.
        start: (z, y, x) voxel at which the output begins, on the grid of the blocks.
        grid: from voxels of the prediction to those of the output, each of which gets the class of the nearest; None:
            they are the same.
        dtype: of the ids.
    """

    channels: Channels
    method: str
    settings: Any
    output: ZarrOutput
    start: tuple[int, ...]
    grid: Resampling | None
    dtype: str

    @property
    def sink(self) -> Voxels:
        """See `BlockWork`."""
        return Voxels(self.output, self.start)

    def compute(self, block: Block) -> np.ndarray:
        """Returns the ids of a block; its channels are read one after another, as they are needed."""
        read = self.grid.reads_nearest(block.core) if self.grid else block.core
        ids = METHODS.find(self.method).fragments(self.channels.read(read), self.settings)
        if self.grid:
            ids = self.grid.nearest(ids, block.core)
        return ids.astype(self.dtype)
