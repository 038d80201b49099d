"""A volume or a part of one, of any format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorstore as ts

from emjax.geometry.box import Box
from emjax.geometry.sizes import Size, Triple
from emjax.volumes.address import Address
from emjax.volumes.read.boxes import begin_read


@dataclasses.dataclass(frozen=True)
class Volume:
    """A volume or a part of one, whose voxels are read on demand.

    Attributes:
        store: `[z, y, x]` or `[c, z, y, x]` with origin 0.
        voxel_nm: (z, y, x) voxel size, nm; None where neither file nor address states it.
        address: the address that it was opened from.
        box: which part of the file this is, in voxels of the file.
        slow_random_access: whether the format makes reading crops slow; `convert` helps.
    """

    store: ts.TensorStore
    voxel_nm: Triple | None
    address: Address
    box: Box
    slow_random_access: bool = False

    @property
    def name(self) -> str:
        """The address without its keys, which say how to read it."""
        return str(dataclasses.replace(self.address, keys={}))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the voxels, (z, y, x) or (c, z, y, x)."""
        return tuple(self.store.shape)

    @property
    def size(self) -> Size:
        """Spatial size, (z, y, x) voxels."""
        return tuple(self.store.shape[-3:])

    @property
    def dtype(self) -> np.dtype:
        """Numpy type of the voxels."""
        return self.store.dtype.numpy_dtype

    def read(self, box: Box) -> np.ndarray:
        """Reads a part.

        Args:
            box: in voxels of this volume.

        Returns:
            `[z, y, x]` or `[c, z, y, x]`.

        Raises:
            InputError: if a chunk is damaged, may not be read, or is absent where the address refuses that (absent
                chunks of arrays are read as 0 unless it has `missing=error`); names the file and the box.
            OSError: if reading failed in a way that may pass, such as a server that does not answer.
        """
        return self.begin_read(box)()

    def begin_read(self, box: Box) -> Callable[[], np.ndarray]:
        """Begins to read a part and returns at once, so that several reads run at the same time.

        Args:
            box: in voxels of this volume.

        Returns:
            A function that waits for the part and returns it, or raises as `read` does.
        """
        name = str(Address(self.address.path, self.address.dataset))
        return begin_read(self.store, box, name, self.box.start)

    def crop(self, box: Box) -> Volume:
        """Returns a part of the volume as a volume.

        Args:
            box: in voxels of this volume.
        """
        part = self.store[(..., *box.slices)]
        part = part[ts.d[-3, -2, -1].translate_to[0]]
        moved = box.translate(self.box.start)
        address = self.address.with_box(str(moved)[1:-1])
        return dataclasses.replace(self, store=part, box=moved, address=address)
