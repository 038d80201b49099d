"""Levels of a pyramid: which belong to a volume, and which one a scale is made from."""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.viewing import levels
from emjax.viewing.levels import best_level
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume


def test_level_that_was_rounded_down_ends_with_its_last_voxel(tmp_path):
    create_volume(tmp_path / "a.zarr", (2, 5, 4), np.uint8, (4.0, 4.0, 4.0), {})
    whole = open_volume(f"{tmp_path}/a.zarr")
    store = create_volume(tmp_path / "b.zarr", (1, 2, 2), np.uint8, (8.0, 8.0, 8.0), {})
    store.write(np.asarray([[[1, 2], [3, 4]]], np.uint8)).result()
    coarse = open_volume(f"{tmp_path}/b.zarr")
    level = levels._cut(whole, whole, coarse)
    assert level.factor == (2, 2, 2)
    assert level.store.read().result().tolist() == [[[1, 2], [3, 4], [3, 4]]]
    # One that is no level of it is not taken for one.
    other = dataclasses.replace(coarse, voxel_nm=(8.0, 8.0, 6.0))
    assert levels._cut(whole, whole, other) is None


def test_best_level():
    factors = [(1, 1, 1), (1, 2, 2), (2, 4, 4)]
    assert [best_level(factors, f) for f in ((1, 1, 1), (1, 4, 4), (2, 4, 4), (4, 8, 8))] == [
        *(0, 1, 2, 2)
    ]
    assert best_level(factors, (2, 2, 4)) == 1 and best_level(factors, (3, 1, 1)) == 0
