"""Voxels that files of every format are made of, and what is expected of them."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.volumes.origin import known_origin
from emjax.volumes.store import open_volume

VOXELS = np.random.default_rng(0).integers(0, 255, (6, 20, 30)).astype(np.uint16)
NM = (40.0, 8.0, 4.0)


def check(address, voxels=VOXELS, voxel_nm=NM, origin=None) -> None:
    volume = open_volume(str(address))
    np.testing.assert_array_equal(volume.store.read().result(), voxels)
    assert volume.dtype == voxels.dtype.newbyteorder("=")
    assert volume.voxel_nm == (pytest.approx(voxel_nm) if voxel_nm else None)
    assert known_origin(volume) == origin
