"""The work of measuring objects on each block."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from emjax.blocks.work import BlockWork, Parts
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.objects.measure import lower_halo, measure_block
from emjax.volumes.label_ids import LabelIds


@dataclasses.dataclass(frozen=True)
class MeasureObjects(BlockWork):
    """Measures the objects of a block; its part holds the arrays of `ObjectSums.to_arrays`, `pairs` and `shared` faces.

    Attributes:
        input: absolute address of the ids.
        image: absolute address of the image; '' for none.
        outer: box of the volume that is measured.
        label_ids: which ids stand for no object.
        folder: folder of the parts.
    """

    input: str
    image: str
    outer: Box
    label_ids: LabelIds
    folder: str

    @property
    def sink(self) -> Parts:
        """Sink that writes the parts."""
        return Parts(self.folder)

    def reads(self, block: Block) -> Sequence[tuple[str, Box]]:
        """Returns the ids of the block and one voxel below, so that each face is seen once, and the block's image."""
        ids = (self.input, lower_halo(block.core, self.outer))
        return (ids, (self.image, block.core)) if self.image else (ids,)

    def compute(
        self, block: Block, ids: np.ndarray, image: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Returns the part of a block."""
        read = lower_halo(block.core, self.outer)
        objects, contacts = measure_block(
            ids, read, block.core, self.outer, image=image, label_ids=self.label_ids
        )
        return objects.to_arrays() | {"pairs": contacts.pairs, "shared": contacts.faces}
