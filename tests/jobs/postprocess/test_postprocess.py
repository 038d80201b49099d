"""The job: chains do not depend on blocks, equal those in memory, go on after a stop, and keep predictions."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from emjax.postprocess.filters import Closing
from emjax.postprocess.holes import Fill
from emjax.postprocess.passes import apply_all
from emjax.runs.folder import read_results
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume

from ..running import read_refusal, run_command

CONFIG = "configs/postprocess.py"
CHAIN = "closing; fill; size?min_size=60; smoothing"


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Ids on disk, and their address."""
    coarse = np.random.default_rng(0).integers(0, 4, (4, 8, 8))
    ids = np.kron(coarse, np.ones((2, 4, 4), int)).astype(np.uint64)
    ids[np.random.default_rng(1).random(ids.shape) < 0.05] = 0
    path = tmp_path_factory.mktemp("postprocess") / "ids.zarr"
    create_volume(path, ids.shape, "uint64", (40.0, 8.0, 8.0), {}).write(ids).result()
    return ids, str(path)


def read(path) -> np.ndarray:
    volume = open_volume(str(path))
    return volume.read(volume.box)


def test_blocks_make_no_difference_and_nothing_is_left_over(labels, tmp_path):
    ids, address = labels
    found = []
    for i, size in enumerate(((8, 32, 32), (4, 16, 8))):
        fields = {"input": address, "output": tmp_path / f"{i}.zarr", "operations": CHAIN}
        block = ",".join(map(str, size))
        assert run_command(CONFIG, tmp_path / f"run{i}", fields | {"block_size": block}) == 0
        found.append(read(tmp_path / f"{i}.zarr"))
        assert not list((tmp_path / f"run{i}").glob("stage-*"))
    np.testing.assert_array_equal(*found)
    assert np.any(found[0] != ids)
    attributes = read_attributes(str(tmp_path / "0.zarr"))
    assert attributes["kind"] == "segmentation" and attributes["complete"] is True
    assert open_volume(str(tmp_path / "0.zarr")).voxel_nm == (40.0, 8.0, 8.0)


def test_one_operation_of_a_part_equals_memory(labels, tmp_path):
    ids, address = labels
    fields = {
        "input": f"{address}?background=3",
        "output": tmp_path / "o.zarr",
        "box": "2:8,4:28,0:32",
    }
    assert run_command(CONFIG, tmp_path / "run", fields | {"operations": "closing?radius=2"}) == 0
    part = np.where(ids == 3, 0, ids)[2:8, 4:28]
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), apply_all([Closing(radius=2)], part))
    assert read_results(tmp_path / "run")["voxels"] == part.size


def test_a_stopped_run_goes_on(labels, tmp_path, monkeypatch):
    _, address = labels
    fields = {"input": address, "operations": CHAIN, "block_size": "4,16,8"}
    assert run_command(CONFIG, tmp_path / "whole", fields | {"output": tmp_path / "a.zarr"}) == 0
    gather, done = Fill.gather, []

    def stop(*args):
        done.append(0)
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return gather(*args)

    monkeypatch.setattr(Fill, "gather", stop)
    fields |= {"output": tmp_path / "b.zarr"}
    assert run_command(CONFIG, tmp_path / "run", fields) == 75
    assert len(done) == 3 and (tmp_path / "run" / "stage-0.zarr").exists()
    monkeypatch.setattr(Fill, "gather", gather)
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    np.testing.assert_array_equal(read(tmp_path / "a.zarr"), read(tmp_path / "b.zarr"))


def test_a_prediction_stays_one(tmp_path):
    known = {"targets": ["foreground", "contour"], "offsets": [None, None], "scale": 1 / 255}
    voxels = np.random.default_rng(0).integers(0, 255, (2, 4, 16, 16), np.uint8)
    create_volume(tmp_path / "p.zarr", voxels.shape, "uint8", (8.0, 8.0, 8.0), known).write(
        voxels
    ).result()
    fields = {"input": tmp_path / "p.zarr", "output": tmp_path / "m.zarr"}
    assert run_command(CONFIG, tmp_path / "run", fields | {"operations": "median?size=1/3/3"}) == 0
    found = read_attributes(str(tmp_path / "m.zarr"))
    assert {name: found[name] for name in known} == known
    assert read(tmp_path / "m.zarr").shape == voxels.shape


def test_images_and_labels_are_not_taken_for_each_other(labels, tmp_path, capfd):
    _, address = labels
    fields = {"input": address, "output": tmp_path / "o.zarr", "operations": "median"}
    assert "median is of images" in read_refusal(capfd, CONFIG, tmp_path / "run", fields)
    assert not (tmp_path / "run").exists()
