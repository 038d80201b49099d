"""The job evaluate over blocks: the same numbers for any blocks, workers and cluster, and after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from emjax.volumes.create import create_volume

from ..running import run_command

CONFIG = "configs/evaluate.py"
SHAPE = (12, 45, 54)
# 1, 8 and 27 blocks, and some that divide nothing.
BLOCKS = ("12,45,54", "6,23,27", "4,15,18", "5,45,11")
OF_THE_RUN = ("blocks", "blocks_resumed", "peak_rss_bytes", "voxels_per_s")
KILLED = """
import os, signal, sys
from emjax import main
from emjax.jobs.evaluate import passes
count, counted = passes.count_block, []
def kill(*args, **how):
    counted.append(0)
    if len(counted) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return count(*args, **how)
passes.count_block = kill
sys.exit(main.main(sys.argv[2:]))
"""


def _cells(seeds: np.ndarray) -> np.ndarray:
    """What is nearest to which seed; some of it is background."""
    places = np.indices(SHAPE).reshape(3, -1).T * (3, 1, 1)
    distance, nearest = cKDTree(seeds * (3, 1, 1)).query(places)
    return np.where(distance < 10, nearest + 1, 0).reshape(SHAPE).astype(np.uint64)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """Labels and a segmentation that share much, both with ids that a double cannot tell apart, and skeletons."""
    folder = tmp_path_factory.mktemp("volumes")
    seeds = np.random.default_rng(0).uniform(0, SHAPE, (25, 3))
    labels = _cells(seeds)
    found = np.roll(labels, 2, 1)
    found[labels == 3] = 4
    found[:6][labels[:6] == 5] = 30
    for name, ids in (("labels", labels), ("found", found)):
        ids[ids > 0] += np.uint64(2**60)
        store = create_volume(folder / f"{name}.zarr", SHAPE, np.uint64, (40, 4, 4), {})
        store.write(ids).result()
    rng = np.random.default_rng(2)
    lines = []
    for tree in range(5):
        # Of cells that are whole, merged or cut.
        point = seeds[2 + tree][::-1] / SHAPE[::-1]
        for i in range(30):
            x, y, z = np.clip(point, 0.01, 0.99) * np.asarray(SHAPE[::-1]) * (4, 4, 40)
            parent = tree * 30 + i if i else -1
            lines.append(f"{tree * 30 + i + 1} 0 {x} {y} {z} 0 {parent}")
            point = point + rng.normal(0, 0.02, 3)
    (folder / "neurons.swc").write_text("\n".join(lines))
    return folder


def _fields(volumes: Path, kind: str) -> dict[str, object]:
    fields = {
        "segmentation": volumes / "found.zarr",
        "labels": volumes / "labels.zarr",
        "skeletons": volumes / "neurons.swc",
    }
    # Clefts are few voxels of a volume.
    background = ",".join(str(2**60 + i) for i in range(20))
    return fields | ({"kind": kind, "background_ids": background} if kind == "clefts" else {})


def _scores(workdir: Path) -> dict[str, float]:
    found = json.loads((workdir / "results.json").read_text())
    return {name: value for name, value in found.items() if name not in OF_THE_RUN}


def _evaluate(workdir: Path, fields: dict[str, object]) -> dict[str, float]:
    assert run_command(CONFIG, workdir, fields) == 0
    return _scores(workdir)


@pytest.mark.parametrize(
    ("kind", "promised"),
    [
        ("instances", {"voi", "arand", "ap_50", "boundary_f1", "erl_nm"}),
        ("clefts", {"adgt_nm", "adf_nm", "foreground_iou", "erl_nm"}),
    ],
)
def test_blocks_and_workers_make_no_difference(volumes, tmp_path, kind, promised):
    fields = _fields(volumes, kind)
    whole = _evaluate(tmp_path / "whole", fields | {"block_size": BLOCKS[0]})
    assert promised <= whole.keys()
    assert all(np.isfinite(value) for value in whole.values())
    assert 0 < whole["foreground_iou"] < 1 and 0 < whole["erl_normalized"] < 1
    for number, size in enumerate(BLOCKS):
        for workers in (1, 2):
            how = {"block_size": size, "num_workers": workers}
            assert _evaluate(tmp_path / f"{number}-{workers}", fields | how) == whole
    ran = json.loads((tmp_path / "2-1" / "results.json").read_text())
    assert ran["blocks"] == 27


@pytest.mark.slow
def test_processes_make_no_difference(volumes, tmp_path):
    # All three passes.
    fields = _fields(volumes, "clefts")
    how = {"block_size": BLOCKS[1], "num_workers": 2, "cluster": "local"}
    assert _evaluate(tmp_path / "cluster", fields | how) == _evaluate(tmp_path / "whole", fields)


def test_killed_at_a_block(volumes, tmp_path):
    fields = _fields(volumes, "instances") | {"block_size": BLOCKS[2]}
    arguments = [f"--config.{name}={value}" for name, value in fields.items()]
    command = ["--config", CONFIG, f"--workdir={tmp_path / 'run'}", *arguments]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "12", *command], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run" / "results.json").exists()
    assert _evaluate(tmp_path / "run", fields) == _evaluate(tmp_path / "whole", fields)
    resumed = json.loads((tmp_path / "run" / "results.json").read_text())["blocks_resumed"]
    # 11 of the first pass; of the second, those without points of skeletons.
    whole = json.loads((tmp_path / "whole" / "results.json").read_text())["blocks_resumed"]
    assert resumed == whole + 11
