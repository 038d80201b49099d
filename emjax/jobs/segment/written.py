"""Which voxels `segment` writes: those of the prediction, or those of the images that it was resampled from."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from absl import logging

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.geometry.sizes import Size, Triple
from emjax.volumes.attributes import read_attributes
from emjax.volumes.origin import place_of, resampled_place, volume_corner, whole_attribute
from emjax.volumes.resampling import Resampling
from emjax.volumes.volume import Volume
from emjax.volumes.write.pyramid import chunk_size, shard_size

TRAINED, NATIVE = "trained", "native"
AT = (TRAINED, NATIVE)


@dataclasses.dataclass(frozen=True)
class Written:
    """The voxels of an output.

    Attributes:
        outer: the voxels, on the grid that they are of.
        voxel_nm: (z, y, x) their size, nm; None where it is not known.
        origin: (z, y, x) where they begin in the whole, in voxels, as files state it.
        attributes: what the output remembers of its place.
        grid: from voxels of the prediction to those of the output; None where they are the same.
    """

    outer: Box
    voxel_nm: Triple | None
    origin: Triple
    attributes: dict[str, Any]
    grid: Resampling | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What tells these voxels from those of the prediction; empty where they are the same."""
        if self.grid is None:
            return {}
        return {"native": [str(self.outer), self.voxel_nm, self.grid.scale, self.grid.start]}

    @property
    def blocks(self) -> tuple[Grid, Size]:
        """Blocks of whole shards, and the size of chunks."""
        chunk = chunk_size(self.outer.size, self.voxel_nm)
        return Grid(self.outer, shard_size(self.outer.size, chunk)), chunk


def choose_written(volume: Volume, box: Box, at: str) -> Written:
    """Returns the voxels of the output of a part of a prediction.

    Args:
        volume: the prediction.
        box: the part of it.
        at: 'trained': its own voxels; 'native': those of the images, if the prediction remembers others.

    Raises:
        InputError: if no voxel of the images has its centre in the part.
    """
    own = Written(
        box, volume.voxel_nm, place_of(volume, box), whole_attribute(volume, volume.voxel_nm)
    )
    native = read_attributes(volume.address).get(NATIVE)
    if at == TRAINED:
        return own
    if native is None or volume.voxel_nm is None:
        logging.info(
            "%s was not resampled: its voxels are those of the images, and at=native changes nothing",
            volume.name,
        )
        return own
    nm, corner = tuple(native["voxel_nm"]), np.array(native["corner"])
    scale = tuple(a / b for a, b in zip(nm, volume.voxel_nm, strict=True))
    start = corner * scale - volume_corner(volume)
    grid = Resampling(volume.size, tuple(native["size"]), scale, tuple(start.tolist()))
    outer = grid.inside(box)
    if not outer.volume:
        raise InputError(f"at=native: no voxel of {nm} nm has its centre in the box {box}")
    origin = resampled_place(volume, nm, tuple((corner + outer.start).tolist()))
    return Written(outer, nm, origin, whole_attribute(volume, nm), grid)
