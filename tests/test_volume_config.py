"""The fields that jobs on whole volumes share."""

from __future__ import annotations

import dataclasses

import pytest

from emjax.errors import InputError
from emjax.volume_config import VolumeSettings, volume_config


@pytest.mark.parametrize(
    "cluster", ["", "local", "tcp://127.0.0.1:8786", "tls://node-7.cluster:9000", "tcp://[::1]:80"]
)
def test_clusters(cluster: str) -> None:
    config = volume_config("segment")
    config.cluster = cluster
    VolumeSettings.from_config(config)


@pytest.mark.parametrize("cluster", ["slurm", "127.0.0.1:8786", "tcp://host", "http://host:8787"])
def test_what_is_no_cluster_is_refused_in_one_line(cluster: str) -> None:
    config = volume_config("segment")
    config.cluster = cluster
    with pytest.raises(InputError, match="is not known.*'local'.*tcp://host:8786") as refusal:
        VolumeSettings.from_config(config)
    assert f"cluster='{cluster}'" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("num_workers", 0, "num_workers=0: must be at least 1"),
        ("block_size", (64, 64), "three whole numbers of 1 or more"),
        ("halo", (0, -1, 0), "three whole numbers of 0 or more"),
        ("block_size", (64, 64, 0), "three whole numbers of 1 or more"),
    ],
)
def test_sizes(name: str, value: object, words: str) -> None:
    config = volume_config("segment")
    config[name] = value
    with pytest.raises(InputError, match=words):
        VolumeSettings.from_config(config)


def test_addresses_that_are_needed() -> None:
    config = volume_config("segment")
    config.input = ""
    with pytest.raises(InputError, match="input is empty; give --config.input=ADDRESS"):
        VolumeSettings.from_config(config, "input")


def test_every_field_of_the_configuration_has_a_value_that_stays() -> None:
    config = volume_config("segment")
    config.block_size = (8, 16, 16)
    settings = VolumeSettings.from_config(config)
    assert set(config) - {"job"} == {field.name for field in dataclasses.fields(settings)}
    config.block_size = (8, 8, 8)
    assert settings.block_size == (8, 16, 16) and settings.halo == ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.num_workers = 2  # type: ignore[misc]
