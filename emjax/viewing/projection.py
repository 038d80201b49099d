"""The largest values of a volume along each axis, read in slabs."""

from __future__ import annotations

import numpy as np
from absl import logging

from emjax.geometry.box import Box
from emjax.volumes.volume import Volume

# Bytes of a slab, about.
_SLAB = 1 << 27
# Voxels of a volume that is not read for a picture alone.
_MOST = 1 << 31


def project(volume: Volume) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Returns the largest values along z `[y, x]`, along y `[z, x]` and along x `[z, y]`.

    Args:
        volume: `[z, y, x]`.

    Returns:
        The projections; None, which is logged, if the volume has channels or is so large that it is not read whole for
        a picture.
    """
    deep, height, width = volume.size
    if len(volume.shape) != 3 or volume.store.size > _MOST:
        logging.warning(
            "%s: no picture: it has channels, or more than %d voxels", volume.name, _MOST
        )
        return None
    step = max(1, _SLAB // max(1, height * width * volume.dtype.itemsize))
    along_z = None
    along_y, along_x = [], []
    for z in range(0, deep, step):
        box = Box((z, 0, 0), (min(step, deep - z), height, width))
        slab = volume.read(box)
        most = slab.max(axis=0)
        along_z = most if along_z is None else np.maximum(along_z, most)
        along_y.append(slab.max(axis=1))
        along_x.append(slab.max(axis=2))
    assert along_z is not None
    return along_z, np.concatenate(along_y), np.concatenate(along_x)
