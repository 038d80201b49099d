"""Outputs at the voxels of the images, class maps, and channels of several kinds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emjax.geometry.box import Box
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume
from emjax.volumes.origin import file_corner
from emjax.volumes.resampling import Resampling
from emjax.volumes.store import open_volume

from ..running import read_refusal, run_command

SEGMENT = "configs/segment.py"
# 10 nm, of which the prediction was resampled to 16 nm; it begins at voxel 2, 0, 3 of the whole.
NATIVE, CORNER = (13, 30, 37), (2, 0, 3)
GRID = Resampling.covering(NATIVE, (10, 10, 10), (16, 16, 16), CORNER)
NAMES = ("mito.foreground", "mito.contour", "axon.foreground")


@pytest.fixture(scope="module")
def prediction(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("prediction") / "p.zarr"
    native = {
        "voxel_nm": [10, 10, 10],
        "size": list(NATIVE),
        "corner": list(CORNER),
        "whole_nm": [10, 10, 10],
    }
    attributes = {
        "targets": list(NAMES),
        "offsets": [None] * 3,
        "native": native,
        "whole_nm": [10, 10, 10],
    }
    first = np.add(GRID.first, 3 / 16)
    store = create_volume(
        path, (3, *GRID.target_size), "uint8", (16, 16, 16), attributes, origin=tuple(first)
    )
    z, y, x = np.indices(GRID.target_size)
    mito = 255 * ((y // 5 + x // 6) % 2)
    store[...].write(np.stack([mito, 0 * mito, 255 * (z > 3)]).astype(np.uint8)).result()
    return str(path)


def _fields(prediction: str, output: Path, **fields: object) -> dict[str, object]:
    return {"input": prediction, "output": output, "num_workers": 1} | fields


def _read(output: Path) -> np.ndarray:
    volume = open_volume(str(output))
    return volume.read(Box((0, 0, 0), volume.size))


def test_objects_come_back_to_the_voxels_of_the_images(prediction, tmp_path) -> None:
    """Each voxel has the object that its centre lies in, whichever of several cells that is of."""
    fields = {
        "of": "mito",
        "method": "components",
        "settings": "min_size=0",
        "fragment_size": "3,7,11",
    }
    trained, native = tmp_path / "t.zarr", tmp_path / "n.zarr"
    assert run_command(SEGMENT, tmp_path / "t", _fields(prediction, trained, **fields)) == 0
    again = _fields(prediction, native, **fields, at="native", graph=tmp_path / "t" / "graph")
    assert run_command(SEGMENT, tmp_path / "n", again) == 0
    ids, back = _read(trained), GRID.back
    whole = Box((0, 0, 0), NATIVE)
    expected = back.nearest(ids[back.reads_nearest(whole).slices], whole)
    np.testing.assert_array_equal(_read(native), expected)
    volume = open_volume(str(native))
    assert volume.voxel_nm == (10, 10, 10) and file_corner(volume.address) == CORNER
    assert json.loads((tmp_path / "n" / "results.json").read_text())["voxels"] == np.prod(NATIVE)


def test_a_part_at_native(prediction, tmp_path) -> None:
    output = tmp_path / "n.zarr"
    fields = {"of": "mito", "method": "components", "settings": "min_size=0", "box": "2:8,4:12,:"}
    assert (
        run_command(SEGMENT, tmp_path / "n", _fields(prediction, output, **fields, at="native"))
        == 0
    )
    part = GRID.back.inside(Box((2, 4, 0), (6, 8, GRID.target_size[2])))
    volume = open_volume(str(output))
    assert volume.size == part.size
    assert file_corner(volume.address) == tuple(np.add(CORNER, part.start))


@pytest.mark.parametrize("at", ["trained", "native"])
def test_two_foregrounds_become_classes(prediction, tmp_path, at) -> None:
    output = tmp_path / "c.zarr"
    fields = _fields(prediction, output, method="classes", at=at)
    assert run_command(SEGMENT, tmp_path / "c", fields) == 0
    stored = open_volume(prediction).read(Box((0, 0, 0), GRID.target_size))
    expected = np.where(stored[0] > 127, 1, np.where(stored[2] > 127, 2, 0))
    if at == "native":
        whole = Box((0, 0, 0), NATIVE)
        expected = GRID.back.nearest(expected[GRID.back.reads_nearest(whole).slices], whole)
    found = _read(output)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    attributes = read_attributes(str(output))
    assert attributes["classes"] == {"1": "mito.foreground", "2": "axon.foreground"}
    assert attributes["complete"] is True
    # Finished: nothing is made again.
    assert run_command(SEGMENT, tmp_path / "c", fields) == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ["mito, axon", "config.of=mito"]),
        ({"of": "nuclei"}, ["of=nuclei", "mito, axon"]),
        ({"at": "nativ"}, ["at='nativ'", "native"]),
        ({"method": "classes", "fragment_size": "4,4,4"}, ["makes no fragments"]),
        ({"method": "classes", "settings": "thresholds=9:0.5"}, ["no class 9"]),
    ],
)
def test_mistakes(prediction, tmp_path, capfd, fields, words) -> None:
    refusal = read_refusal(
        capfd, SEGMENT, tmp_path / "w", _fields(prediction, tmp_path / "o.zarr", **fields)
    )
    assert all(word in refusal for word in words), refusal
    assert not (tmp_path / "o.zarr").exists()
