"""Targets of stored labels: the same in any box, and unknown where a mask says so."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from emjax.command_line import load_config
from emjax.config import plain
from emjax.data.opening import open_entries
from emjax.geometry.box import Box
from emjax.tasks.build import build_segment
from emjax.tasks.label_targets import targets_at

from .small import smooth_noise

SHAPE = (4, 24, 24)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """An image with labels and a mask, and a task of affinities and foreground."""
    path = tmp_path_factory.mktemp("labels") / "a.h5"
    mask = np.ones(SHAPE, np.uint8)
    mask[:, :8] = 0
    with h5py.File(path, "w") as file:
        file["raw"] = smooth_noise(SHAPE)
        file["labels"] = (smooth_noise(SHAPE, seed=1) // 64).astype(np.uint64) << 40
        file["mask"] = mask
    (entry,) = open_entries(f"{path}:raw?voxel_nm=40,8,8|{path}:labels|mask={path}:mask")
    config = load_config("configs/finetune.py:smoke")
    config.data.crop_size = (4, 16, 16)
    config.data.widen = False
    config.targets = "affinities?offsets=nearest; foreground?losses=bce"
    return entry, build_segment(plain(config))


def test_values_are_those_of_the_whole_volume(given):
    entry, task = given
    whole = targets_at(entry, task, Box((0, 0, 0), SHAPE))
    core = Box((1, 6, 3), (2, 12, 9))
    for part, all_of_it in zip(targets_at(entry, task, core), whole, strict=True):
        np.testing.assert_array_equal(part, all_of_it[(slice(None), *core.slices)])


def test_values_by_the_ids_themselves(given):
    entry, task = given
    values, masks = targets_at(entry, task, Box((0, 0, 0), SHAPE))
    ids = entry.labels.read(Box((0, 0, 0), SHAPE))
    np.testing.assert_array_equal(values[3], (ids > 0) & (masks[3] > 0))
    same = (ids[1:] == ids[:-1]) & (ids[1:] > 0)
    np.testing.assert_array_equal(values[0, 1:, 9:], same[:, 9:])
    # Nothing is known of the masked part, nor of affinities to voxels outside.
    assert not masks[:, :, :8].any() and masks[3, :, 8:].all()
    assert not masks[0, 0].any() and masks[0, 1:, 8:].all()
