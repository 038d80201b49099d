"""The interface of the formats that whole volumes are written to, block by block."""

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
    """Everything that has to be known to make a volume.

    Attributes:
        channels: number of channels; 0: the volume has no such axis.
        dtype: name of the voxel type.
        kind: 'image' or 'labels'.
        voxel_nm: (z, y, x) voxel size, nm; None where it is unknown.
        origin: (z, y, x) voxel of the whole at which the volume begins.
        levels: of the pyramid, full resolution first.
        downscaling: how the levels are made.
        attributes: stored as the attribute `emjax` of the volume.
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
        """Returns the shape of a level, (z, y, x) or (c, z, y, x)."""
        channels = (self.channels,) if self.channels else ()
        return (*channels, *self.levels[level].size)


class Output(Protocol):
    """A place to write a volume to, in one format; picklable and hashable."""

    @property
    def path(self) -> str:
        """Path or URL of the file or folder."""
        ...

    @property
    def most_levels(self) -> int:
        """Largest number of pyramid levels that the format can hold; 0: any number."""
        ...

    @property
    def shared(self) -> bool:
        """Whether several processes may write the output at the same time."""
        ...

    @property
    def any_shard(self) -> bool:
        """Whether shards may have different numbers of chunks along each axis."""
        ...

    @property
    def whole_sections(self) -> bool:
        """Whether a section is written at once, so that blocks must not cut sections."""
        ...

    @property
    def hidden(self) -> bool:
        """Whether the output has another name until it is finished, so that nobody takes it for complete before."""
        ...

    def suit(self, dtype: np.dtype, kind: str) -> np.dtype:
        """Returns the type, the same or a wider one, in which the format stores such voxels.

        Raises:
            InputError: if the format has no such type.
        """
        ...

    def check(self, new: NewVolume) -> None:
        """Checks that the format can hold a volume.

        Raises:
            InputError: if it cannot.
        """
        ...

    def check_free(self, overwrite: bool) -> None:
        """Checks that a volume can be made at this place; changes nothing.

        Raises:
            InputError: if something is there that must not be deleted.
        """
        ...

    def exists(self) -> bool:
        """Whether the volume was made completely, though it may still be empty."""
        ...

    def is_half_made(self) -> bool:
        """Whether `create` was killed here."""
        ...

    def attributes(self) -> dict[str, Any]:
        """Returns the attribute `emjax` of the existing volume."""
        ...

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Replaces the attribute `emjax` of the existing volume; not for outputs that are `hidden`.

        Raises:
            InputError: if it cannot be written.
        """
        ...

    def delete(self) -> None:
        """Deletes the existing volume, and nothing else."""
        ...

    def create(self, new: NewVolume) -> None:
        """Makes an empty volume.

        Raises:
            InputError: if it cannot be written.
        """
        ...

    def open(self, level: int = 0) -> ts.TensorStore:
        """Opens a level, `[z, y, x]` or `[c, z, y, x]` with origin 0; whole shards are durable once written."""
        ...

    def finish(self) -> None:
        """Renames a complete volume to its final name; does nothing if it has it already."""
        ...
