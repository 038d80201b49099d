"""The format of docs/extending.md, converted to zarr and back by the command."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.formats import FORMATS, parse_output
from emjax.volumes.origin import known_origin
from emjax.volumes.store import open_volume

from ...extending import write_package
from ..running import run_command

CONFIG = "configs/convert.py"


def test_a_format_from_outside_is_read_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(write_package(tmp_path)))
    voxels = np.random.default_rng(0).integers(1, 255, (6, 20, 30), np.uint8)
    with h5py.File(tmp_path / "em.h5", "w") as file:
        file["raw"] = voxels
        file["raw"].attrs["resolution"] = (40.0, 4.0, 4.0)
    steps = (("em.h5", "em.toy"), ("em.toy", "em.zarr"), ("em.zarr", "back.toy"))
    for source, target in steps:
        fields = {"input": f"{tmp_path}/{source}", "output": f"{tmp_path}/{target}"}
        fields |= {"box": "1:5,:,:"} if source == "em.h5" else {}
        assert run_command(CONFIG, tmp_path / f"run-{target}", fields) == 0
    for name in ("em.toy", "em.zarr", "back.toy"):
        volume = open_volume(f"{tmp_path}/{name}")
        assert volume.voxel_nm == (40, 4, 4) and volume.size == (4, 20, 30)
        assert known_origin(volume) == (1, 0, 0)
        np.testing.assert_array_equal(volume.read(Box((0, 0, 0), volume.size)), voxels[1:5])
    # It has no pyramid, datasets or absent parts, and what it is asked to replace must be its own.
    for keys, helps in (
        ("?level=1", "no pyramid"),
        (":raw", "no datasets inside"),
        ("?missing=fill", "nothing can be absent"),
    ):
        with pytest.raises(InputError, match=helps):
            open_volume(f"{tmp_path}/em.toy{keys}")
    (tmp_path / "thesis.toy").write_text("years of work")
    with pytest.raises(InputError, match="no toy volume"):
        parse_output(f"{tmp_path}/thesis.toy").check_free(overwrite=True)
    # Messages name it beside the others.
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=r"no format that is known: give \.zarr, .*\.toy"):
        open_volume(f"{tmp_path}/a.txt")
    with pytest.raises(InputError, match=r"the name must say the format: .* or NAME\.toy"):
        parse_output("a.txt")


def test_a_format_from_outside_replaces_none(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(write_package(tmp_path)))
    assert list(FORMATS)[-1] == "toy" and "toy" in FORMATS
    assert FORMATS.place("hdf5") == "emjax.volumes.read.hdf5:FORMAT"
