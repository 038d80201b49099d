"""Volumes of ids, and keys that mean nothing where they stand."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.roles import LABEL_KEYS, open_ids, refuse_idle_keys


def test_keys_that_mean_nothing_are_refused():
    keys = "voxel_nm=1,1,1&level=0&missing=fill&background=7"
    refuse_idle_keys(Address.parse(f"a.zarr?{keys}"), "labels", LABEL_KEYS)
    with pytest.raises(InputError, match="image a.zarr.*: background=7 means nothing here: it is"):
        refuse_idle_keys(Address.parse(f"a.zarr?{keys}"), "image", ("kind",))
    for key in ("weight=2", "group=a", "kind=image", "ignore=3"):
        with pytest.raises(InputError, match=f"mask a.zarr.*: {key} means nothing here"):
            refuse_idle_keys(Address.parse(f"a.zarr?{key}"), "mask")


def test_ids_are_integers_of_three_axes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["ids"], file["floats"] = np.ones((2, 3, 4), np.uint8), np.ones((2, 3, 4))
        file["channels"] = np.ones((2, 2, 3, 4), np.uint8)
    assert open_ids(f"{tmp_path}/a.h5:ids?ignore=1", "labels").size == (2, 3, 4)
    for dataset in ("floats", "channels"):
        with pytest.raises(InputError, match=r"labels .*; ids are integers with axes z, y, x"):
            open_ids(f"{tmp_path}/a.h5:{dataset}", "labels")
    with pytest.raises(InputError, match="segmentation .*ignore=1 means nothing here"):
        open_ids(f"{tmp_path}/a.h5:ids?ignore=1", "segmentation", ("background",))
