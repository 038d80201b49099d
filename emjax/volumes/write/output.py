"""Formats that whole volumes are written to, each block by block, as one interface."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorstore as ts

from emjax.geometry.sizes import Triple
from emjax.volumes.write.pyramid import Level


@dataclasses.dataclass(frozen=True)
class NewVolume:
    """A volume to be made.

    Attributes:
        channels: number of them; 0: the volume has no such axis.
        dtype: name of the type of its voxels.
        kind: 'image' or 'labels'.
        voxel_nm: (z, y, x) nm; None where it is unknown.
        origin: (z, y, x) voxel of the whole that it begins at.
        levels: of its pyramid, full resolution first.
        downscaling: how the levels are made.
        attributes: what is to be remembered.
    """

    channels: int
    dtype: str
    kind: str
    voxel_nm: Triple | None
    origin: Triple
    levels: tuple[Level, ...]
    downscaling: str
    attributes: Mapping[str, Any]

    def shape(self, level: int = 0) -> tuple[int, ...]:
        """(z, y, x) or (c, z, y, x) of a level."""
        channels = (self.channels,) if self.channels else ()
        return (*channels, *self.levels[level].size)


class Output(Protocol):
    """A place and a format; picklable, with a hash."""

    @property
    def path(self) -> str:
        """Of the file or folder."""
        ...

    @property
    def most_levels(self) -> int:
        """How many levels the format has room for; 0: any number."""
        ...

    @property
    def shared(self) -> bool:
        """Whether several processes may write it."""
        ...

    @property
    def any_shard(self) -> bool:
        """Whether shards may have different numbers of chunks along each axis."""
        ...

    @property
    def hidden(self) -> bool:
        """Whether it has another name until it is finished, so that nobody takes it for whole before."""
        ...

    def suit(self, dtype: np.dtype, kind: str) -> np.dtype:
        """Returns the type, the same or a wider one, that the format keeps such voxels in.

        Raises:
            InputError: if there is none.
        """
        ...

    def check(self, new: NewVolume) -> None:
        """Checks that the format can hold a volume.

        Raises:
            InputError: if it cannot.
        """
        ...

    def check_free(self, overwrite: bool) -> None:
        """Checks that a volume can be made here; changes nothing.

        Raises:
            InputError: if something is there that is not to be deleted.
        """
        ...

    def exists(self) -> bool:
        """Whether a volume, whole though maybe empty, is there."""
        ...

    def is_half_made(self) -> bool:
        """Whether `create` was killed here."""
        ...

    def attributes(self) -> dict[str, Any]:
        """Returns what was remembered with the volume that is there."""
        ...

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Replaces what is remembered with the volume that is there; of one that is not hidden.

        Raises:
            InputError: if it cannot be written.
        """
        ...

    def delete(self) -> None:
        """Deletes the volume that is there, and nothing else."""
        ...

    def create(self, new: NewVolume) -> None:
        """Makes an empty volume.

        Raises:
            InputError: if it cannot be written.
        """
        ...

    def open(self, level: int = 0) -> ts.TensorStore:
        """Opens a level, `[z, y, x]` or `[c, z, y, x]` with origin 0; writes of whole shards return when durable."""
        ...

    def finish(self) -> None:
        """Gives a volume that is whole its name; does nothing if it has it."""
        ...
