"""Where a box of one volume lies in another one."""

from __future__ import annotations

import numpy as np

from emjax.geometry.box import Box
from emjax.volumes.origin import volume_corner
from emjax.volumes.pairs import same_voxels
from emjax.volumes.volume import Volume

# Voxels by which corners may miss each other by rounding.
_ROUNDING = 1e-3


def box_in(volume: Volume, box: Box, other: Volume) -> Box:
    """Returns the voxels of another volume that have a part in a box.

    Args:
        volume: that the box is of.
        box: in voxels of `volume`.
        other: of the same tissue, as what is predicted from `volume` is; maybe of another voxel size.

    Returns:
        In voxels of `other`; empty where it does not reach.
    """
    ours, theirs = volume.voxel_nm, other.voxel_nm
    scale = np.ones(3)
    if ours is not None and theirs is not None and not same_voxels(ours, theirs):
        scale = np.divide(ours, theirs)
    corner, offset = np.asarray(volume_corner(volume)), volume_corner(other)
    start = np.floor((corner + box.start) * scale - offset + _ROUNDING).astype(int)
    stop = np.ceil((corner + box.stop) * scale - offset - _ROUNDING).astype(int)
    return Box.between(tuple(start.tolist()), tuple(stop.tolist())).clip(Box((0, 0, 0), other.size))
