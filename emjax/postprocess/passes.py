"""The work on each block: local operations in one go; global ones gather, and then change, in a pass each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from emjax.blocks.parts import read_part
from emjax.blocks.work import BlockWork, Parts, Voxels
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.geometry.sizes import Size
from emjax.postprocess.operation import Global, Local
from emjax.volumes.label_ids import NONE_NAMED, LabelIds
from emjax.volumes.write.output import Output


def apply_all(operations: Sequence[Local], voxels: np.ndarray) -> np.ndarray:
    """Applies local operations one after the other.

    Args:
        operations: all of labels, or all of images.
        voxels: `[z, y, x]`; labels are integers; or an image, `[z, y, x]` or `[c, z, y, x]`.

    Returns:
        The same shape; labels are uint64.
    """
    if operations[0].of == "image":
        if voxels.ndim == 4:
            return np.stack([apply_all(operations, channel) for channel in voxels])
        for operation in operations:
            voxels = operation.apply(voxels)
        return voxels
    # Filters of scipy compute with float64, which cannot hold all ids.
    ids, dense = np.unique(np.append(voxels.ravel(), voxels.dtype.type(0)), return_inverse=True)
    labels = dense[:-1].reshape(voxels.shape).astype(np.int64)
    for operation in operations:
        labels = operation.apply(labels)
    return ids.astype(np.uint64)[labels]


@dataclasses.dataclass(frozen=True)
class Place:
    """What is read.

    Attributes:
        address: of the volume.
        start: (z, y, x) voxel of the volume at which the grid begins.
        outer: the box of the whole grid, from 0.
        ids: which ids of labels stand for no object.
    """

    address: str
    start: Size
    outer: Box
    ids: LabelIds = NONE_NAMED

    def read(self, box: Box) -> tuple[str, Box]:
        """Returns the volume, and a box of the grid in its voxels."""
        return self.address, box.translate(self.start)

    def labels(self, voxels: np.ndarray) -> np.ndarray:
        """Returns ids as uint64, 0 where there is no object; raises InputError for negative ids."""
        return self.ids.segments(voxels).astype(np.uint64)


@dataclasses.dataclass(frozen=True)
class ApplyLocal(BlockWork):
    """Applies local operations to each block, with what lies around it.

    Attributes:
        place: what is read.
        operations: all of one kind of volume.
        output: the volume that is written, from 0.
    """

    place: Place
    operations: tuple[Local, ...]
    output: Output

    @property
    def sink(self) -> Voxels:
        """See `BlockWork`."""
        return Voxels(self.output)

    def reads(self, block: Block) -> Sequence[tuple[str, Box]]:
        """See `BlockWork`."""
        return (self.place.read(self._around(block)),)

    def compute(self, block: Block, *voxels: np.ndarray) -> np.ndarray:
        """Returns the voxels of the block's core."""
        around = self._around(block)
        inner = block.core.translate(tuple(-start for start in around.start)).slices
        of_labels = self.operations[0].of == "labels"
        read = self.place.labels(voxels[0]) if of_labels else voxels[0]
        return np.ascontiguousarray(apply_all(self.operations, read)[(..., *inner)])

    def _around(self, block: Block) -> Box:
        z, y, x = np.sum([operation.halo for operation in self.operations], axis=0).tolist()
        return block.core.grow((z, y, x)).clip(self.place.outer)


@dataclasses.dataclass(frozen=True)
class Gather(BlockWork):
    """Finds in each block what a global operation decides by.

    Attributes:
        place: what is read.
        operation: the operation.
        folder: folder of the parts.
    """

    place: Place
    operation: Global
    folder: str

    @property
    def sink(self) -> Parts:
        """See `BlockWork`."""
        return Parts(self.folder)

    def reads(self, block: Block) -> Sequence[tuple[str, Box]]:
        """See `BlockWork`."""
        return (self.place.read(self.operation.reads(block.core, self.place.outer)),)

    def compute(self, block: Block, *voxels: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the named arrays of the block."""
        read = self.operation.reads(block.core, self.place.outer)
        labels = self.place.labels(voxels[0])
        return self.operation.gather(labels, read, block, self.place.outer)


@dataclasses.dataclass(frozen=True)
class Change(BlockWork):
    """Changes each block as a global operation decided.

    Attributes:
        place: what is read.
        operation: the operation.
        table: path of what it decided.
        output: the volume that is written, from 0.
    """

    place: Place
    operation: Global
    table: str
    output: Output

    @property
    def sink(self) -> Voxels:
        """See `BlockWork`."""
        return Voxels(self.output)

    def reads(self, block: Block) -> Sequence[tuple[str, Box]]:
        """See `BlockWork`."""
        return (self.place.read(block.core),)

    def compute(self, block: Block, *voxels: np.ndarray) -> np.ndarray:
        """Returns the labels of the block's core."""
        labels = self.place.labels(voxels[0])
        return self.operation.change(labels, block, read_part(self.table))
