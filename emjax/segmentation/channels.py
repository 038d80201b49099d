"""A prediction on disk, read in parts, each channel when it is needed."""

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
    """The address of a prediction and a description of its channels; can be sent to another process.

    Attributes:
        address: of the prediction.
        names: of the channels.
        offsets: of the channels, None for a channel that is no affinity.
        indices: number of each channel in the volume; None: these are all that it has.
        run: unique name of the run, so that it does not use volumes that an earlier run of the process opened.
    """

    address: str
    names: tuple[str, ...]
    offsets: tuple[Offset | None, ...]
    indices: tuple[int, ...] | None = None
    run: str = ""

    @classmethod
    def of(
        cls,
        volume: Volume,
        names: tuple[str, ...],
        offsets: tuple[Offset | None, ...],
        indices: tuple[int, ...] | None = None,
    ) -> Channels:
        """Returns the channels of an open volume."""
        # A worker may have another working folder.
        return cls(str(volume.address.absolute()), names, offsets, indices, uuid.uuid4().hex)

    def read(self, box: Box) -> Prediction:
        """Returns a part, given in voxels of the volume; nothing is read before a channel is needed."""
        part: Any = _Part(open_once(self.address, self.run), box, self.indices)
        return Prediction(part, self.names, self.offsets, box.start)


class _Part:
    """A part of a prediction as an array `[c, z, y, x]` for `Prediction`; keeps the channels that it has read."""

    ndim = 4

    def __init__(self, volume: Volume, box: Box, indices: tuple[int, ...] | None) -> None:
        self._volume = volume
        self._box = box
        # A volume of one channel has no channel axis when it is opened.
        self._bare = len(volume.shape) == 3
        stored = 1 if self._bare else volume.shape[0]
        self._indices = tuple(range(stored)) if indices is None else indices
        self.shape = (len(self._indices), *box.size)
        self.dtype = volume.dtype
        self._read: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        if index not in self._read:
            volume = self._volume
            if not self._bare:
                volume = dataclasses.replace(volume, store=volume.store[self._indices[index]])
            self._read[index] = volume.read(self._box)
        return self._read[index]
