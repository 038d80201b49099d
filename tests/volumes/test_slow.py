"""What is slow is said once, with a command that can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from absl import logging

from emjax.volumes import slow
from emjax.volumes.address import Address
from emjax.volumes.slow import convert_command, say_if_slow
from emjax.volumes.store import open_volume


@pytest.mark.parametrize(
    ("address", "source", "output"),
    [
        ("d/a.tif[0:4]?voxel_nm=50,4,4&weight=2", "d/a.tif?voxel_nm=50,4,4", "d/a.zarr"),
        ("a.h5:volumes/raw[0:4]", "a.h5:volumes/raw", "a_volumes_raw.zarr"),
        ("d/em/*.png?missing=fill", "d/em/*.png?missing=fill", "d/em.zarr"),
        ("my data/em.json", "my data/em.json", "my data/em.zarr"),
    ],
)
def test_command(address: str, source: str, output: str) -> None:
    words = shlex.split(convert_command(Address.parse(address)))
    assert words == [
        *("python", "-m", "emjax.main", "--config", "configs/convert.py"),
        *(f"--config.input={source}", f"--config.output={output}"),
    ]


def test_once_and_only_what_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.zeros((4, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", voxels, photometric="minisblack")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["plain"] = voxels
        file.create_dataset("gzip", data=voxels, compression="gzip")
        file.create_dataset("shuffle", data=voxels, shuffle=True)
        large = file.create_dataset("large", (300, 300, 300), "uint8", chunks=(300, 300, 300))
        large[0, 0, 0] = 1
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    slow._say.cache_clear()
    names = ("a.tif", "a.h5:plain", "a.h5:gzip", "a.h5:shuffle", "a.h5:large")
    volumes = [open_volume(f"{tmp_path}/{name}") for name in names]
    assert [v.slow_random_access for v in volumes] == [True, False, True, True, True]
    say_if_slow(None, *volumes[:2])
    say_if_slow(volumes[0], open_volume(f"{tmp_path}/a.tif[0:2]"))
    assert len(said) == 1
    assert f"crops of {tmp_path}/a.tif are slow to read" in said[0]
    assert f"--config.output={tmp_path}/a.zarr" in said[0]
