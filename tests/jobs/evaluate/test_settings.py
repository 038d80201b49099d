"""The configuration as values: all of its own fields, checked, and none that can change."""

from __future__ import annotations

import dataclasses

import pytest

from emjax.command_line import load_config
from emjax.errors import InputError
from emjax.jobs.evaluate.settings import Settings
from emjax.volume_config import VolumeSettings


def test_values_of_a_configuration():
    config = load_config("configs/evaluate.py")
    config.segmentation, config.labels, config.ignore_ids = "a.zarr", "b.zarr", (3, 4)
    settings = Settings.from_config(config)
    assert (settings.segmentation, settings.ignore_ids) == ("a.zarr", (3, 4))
    # Those of all jobs on volumes are a group of their own.
    own = {field.name for field in dataclasses.fields(Settings)} - {"shared"}
    shared = {field.name for field in dataclasses.fields(VolumeSettings)}
    assert set(config) - own - shared == {"job"} and not own & shared
    assert {"halo", "cluster", "num_workers", "overwrite"} <= shared
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.kind = "clefts"


def test_labels_are_needed_unless_there_are_skeletons():
    config = load_config("configs/evaluate.py")
    config.segmentation = "a.zarr"
    with pytest.raises(InputError, match="labels is empty"):
        Settings.from_config(config)
    config.skeletons = "a.swc"
    assert Settings.from_config(config).labels == ""
