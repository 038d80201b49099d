"""A prediction on disk, of which parts are read, each channel when it is asked for."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import numpy as np

from emjax.blocks.opening import open_once
from emjax.geometry.box import Box
from emjax.segmentation.prediction import Offset, Prediction
from emjax.volumes.volume import Volume


@dataclasses.dataclass(frozen=True)
class Channels:
    """Where a prediction is and what its channels are; another process can open it too.

    Attributes:
        address: of the volume.
        names: of the channels.
        offsets: of the channels, None for what is no affinity.
        run: name of the run, so that none reads through what an earlier one of its process opened.
    """

    address: str
    names: tuple[str, ...]
    offsets: tuple[Offset | None, ...]
    run: str = ""

    @classmethod
    def of(
        cls, volume: Volume, names: tuple[str, ...], offsets: tuple[Offset | None, ...]
    ) -> Channels:
        """Returns the channels of an open volume."""
        # A worker may have another working folder.
        return cls(str(volume.address.absolute()), names, offsets, uuid.uuid4().hex)

    def read(self, box: Box) -> Prediction:
        """Returns a part, in voxels of the volume; nothing is read before it is asked for."""
        part: Any = _Part(open_once(self.address, self.run), box)
        return Prediction(part, self.names, self.offsets)


class _Part:
    """What `Prediction` needs of an array `[c, z, y, x]`; keeps what it has read."""

    ndim = 4

    def __init__(self, volume: Volume, box: Box) -> None:
        self._volume = volume
        self._box = box
        # A volume of one channel is opened without that axis.
        self._bare = len(volume.shape) == 3
        self.shape = (1 if self._bare else volume.shape[0], *box.size)
        self.dtype = volume.dtype
        self._read: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        if index not in self._read:
            volume = self._volume
            if not self._bare:
                volume = dataclasses.replace(volume, store=volume.store[index])
            self._read[index] = volume.read(self._box)
        return self._read[index]
