"""What a network needs around a voxel to compute it."""

from __future__ import annotations

from typing import NamedTuple

from emjax.geometry.sizes import Size


class Footprint(NamedTuple):
    """Geometry of a network, z y x.

    Attributes:
        stride: voxels of the input per cell of the coarsest grid; inputs must be multiples of it.
        halo: voxels on each side that an output voxel can depend on. Attention reads the whole input besides, and so
            does normalization by statistics of the input (`emjax.models.normalization`).
    """

    stride: Size
    halo: Size
