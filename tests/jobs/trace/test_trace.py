"""Tracing by the command: an image, a prediction, a segmentation, and what cannot work."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from emjax.skeletons.swc import read_swc

from ..running import read_refusal, run_command

CONFIG = "configs/trace.py"
SIZE = (9, 24, 60)


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "a.h5"
    grid = np.indices(SIZE)
    mask = np.hypot(grid[0] - 4, grid[1] - 12) <= 2
    noise = np.random.default_rng(0).integers(0, 50, SIZE)
    ids = np.where(mask, 7, 0).astype(np.uint64)
    ids[:, 18:21, 20:50] = 9
    with h5py.File(path, "w") as file:
        file["raw"] = np.where(mask, 200, noise).astype(np.uint8)
        file["mask"] = mask.astype(np.uint8)
        file["empty"] = np.zeros(SIZE, np.uint8)
        file["ids"] = ids
        file["channels"] = np.zeros((2, *SIZE), np.uint8)
    return path


def _results(folder: Path) -> dict[str, float]:
    return json.loads((folder / "results.json").read_text())


def test_an_image_is_traced(stack, tmp_path, capfd):
    output = tmp_path / "t.swc"
    fields = {"input": f"{stack}:raw", "output": output, "root": "4,12,2"}
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    found = _results(tmp_path / "run")
    assert found["length_voxels"] == pytest.approx(58, rel=0.05)
    assert (found["trees"], found["tips"]) == (1, 1) and 45 < found["threshold"] < 200
    tree = read_swc(output)
    assert np.linalg.norm(tree.positions[0] - (4, 12, 2)) < 2.5
    assert np.abs(tree.positions[:, :2] - (4, 12)).max() <= 1
    said = capfd.readouterr().out
    assert "image, marching" in said and "(unit voxel)" in said
    assert (tmp_path / "run" / "plots" / "trace.png").exists()


def test_a_part_of_a_mask_lies_where_it_was_and_in_micrometres(stack, tmp_path):
    output = tmp_path / "t.swc"
    address = f"{stack}:mask?voxel_nm=1000,500,500&offset=100,0,0"
    fields = {"input": address, "output": output, "box": ":,:,20:50"}
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    tree = read_swc(output)
    assert np.abs(tree.positions[:, 0] - 104.5).max() <= 1
    assert tree.positions[:, 2].min() >= 10 and tree.positions[:, 2].max() <= 25
    assert _results(tmp_path / "run")["length_nm"] == pytest.approx(14500, rel=0.05)
    assert "# unit: um; 0 is the corner" in output.read_text()


def test_objects_of_a_segmentation(stack, tmp_path):
    fields = {"input": f"{stack}:ids?voxel_nm=20,10,10", "output": tmp_path / "out", "ids": "all"}
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    assert sorted(p.name for p in (tmp_path / "out").glob("*.swc")) == ["7.swc", "9.swc"]
    points, edges = struct.unpack("<2I", (tmp_path / "out/precomputed/7").read_bytes()[:8])
    assert points == edges + 1 and (tmp_path / "out/precomputed/info").exists()
    table = pq.read_table(tmp_path / "run" / "objects.parquet").to_pylist()
    assert [row["id"] for row in table] == [7, 9]
    assert table[0]["length_um"] == pytest.approx(0.59, rel=0.05)
    # A table of all objects, of which one is traced: where they are is read from it.
    found = tmp_path / "objects"
    assert (
        run_command("configs/objects.py", found, {"input": f"{stack}:ids?voxel_nm=20,10,10"}) == 0
    )
    more = {"ids": "9", "objects": found / "objects.parquet", "output": tmp_path / "one"}
    assert run_command(CONFIG, tmp_path / "table", fields | more) == 0
    rows = pq.read_table(tmp_path / "table" / "objects.parquet").to_pylist()
    assert rows[0]["length_um"] is None and rows[1]["voxels"] == 9 * 3 * 30
    assert rows[1]["length_um"] == pytest.approx(table[1]["length_um"])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"output": ""}, "output is empty"),
        ({"output": "{t}/a.txt"}, "must end in .swc"),
        ({"input": "{a}:empty"}, "no voxel is above threshold=0.5: the largest value is 0"),
        ({"input": "{a}:empty", "threshold": "3"}, "no voxel is above threshold=3"),
        ({"input": "{a}:channels"}, "add ?channel=0"),
        ({"input": "{a}:ids"}, "give --config.ids=all"),
        ({"root": "0,0,0"}, "root=0,0,0 lies in background; the nearest voxel of neurite is"),
        ({"root": "1,2"}, "root=1,2 must be three voxels"),
        ({"unit": "um"}, "does not say the size of its voxels"),
        ({"method": "fmm"}, "method='fmm' is unknown"),
        ({"method": "teasar", "confidence": 0.7}, "confidence=0.7 is of method 'marching'"),
        ({"prune": 500.0, "threshold": "255"}, "no voxel is above threshold=255"),
        ({"objects": "x.parquet"}, "objects is a table of a segmentation"),
        ({"ids": "7", "output": "{t}/o", "root": "1,1,1"}, "root=1,1,1 means nothing for objects"),
        ({"ids": "7", "output": "{t}/o", "input": "{a}:ids"}, "does not say the size"),
        (
            {"ids": "8", "output": "{t}/o", "input": "{a}:ids?voxel_nm=9,9,9"},
            "no object 8; it has 2 objects, such as 7, 9",
        ),
    ],
)
def test_what_cannot_be_traced_is_one_line(stack, tmp_path, capfd, fields, words):
    given = {"input": "{a}:raw", "output": "{t}/t.swc"} | fields
    given = {
        k: str(v).replace("{a}", str(stack)).replace("{t}", str(tmp_path)) for k, v in given.items()
    }
    assert words in read_refusal(capfd, CONFIG, tmp_path / "run", given)
    assert not list(tmp_path.glob("*.swc")) and not (tmp_path / "o").exists()


def test_an_output_that_exists_is_kept(stack, tmp_path, capfd):
    (tmp_path / "t.swc").write_text("mine")
    fields = {"input": f"{stack}:raw", "output": tmp_path / "t.swc"}
    assert "t.swc exists; give --config.overwrite=true" in read_refusal(
        capfd, CONFIG, tmp_path / "run", fields
    )
    assert (tmp_path / "t.swc").read_text() == "mine"
