"""Writes the ids of a segmentation at the voxel size of the images, where the prediction has another one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from emjax.geometry.grid import Block
from emjax.segmentation.graph_files import read_segments
from emjax.segmentation.passes import FRAGMENTS, Plan
from emjax.volumes.resampling import Resampling


@dataclasses.dataclass(frozen=True)
class RelabelNative:
    """The last pass, at another voxel size: each voxel gets the object of the fragment that its centre lies in.

    Attributes:
        plan: of the segmentation.
        segments: path of `segments.parquet`.
        output: path of the output volume.
        grid: from voxels of the prediction to those of the output.
        start: (z, y, x) voxel of the grid at which the output begins.
    """

    plan: Plan
    segments: str
    output: str
    grid: Resampling
    start: tuple[int, ...]

    def __call__(self, block: Block) -> None:
        """Processes one block of the output."""
        cells = self.plan.cells
        # Output voxels at the border of a part may have their nearest voxel beside it.
        read = self.grid.reads_nearest(block.core)
        stored = read.clip(cells.outer)
        fragments = self.plan.open(self.plan.file(FRAGMENTS))
        labels = fragments[cells.inside(stored).slices].read().result()
        objects = self.plan.parts(self._objects(labels), stored)
        beyond = zip(read.start, read.stop, stored.start, stored.stop, strict=True)
        objects = np.pad(objects, [(b - a, d - c) for a, d, b, c in beyond], mode="edge")
        output = self.plan.open(self.output)
        place = block.core.translate(tuple(-s for s in self.start))
        output[place.slices].write(self.grid.nearest(objects, block.core)).result()

    def _objects(self, fragments: np.ndarray) -> np.ndarray:
        """Returns the objects of fragments; the id of a fragment says which cell it is of."""
        per_cell = np.uint64(math.prod(self.plan.cells.size))
        objects = np.zeros(fragments.shape, np.uint64)
        inside = fragments > 0
        of_cell = (fragments - inside) // per_cell
        for index in np.unique(of_cell[inside]).tolist():
            here = inside & (of_cell == index)
            first = self.plan.cells.first_id(index)
            numbers = (fragments[here] - np.uint64(first)).astype(np.int64)
            found = read_segments(self.segments, first + 1, first + int(numbers.max()))
            objects[here] = found[numbers - 1]
        return objects
