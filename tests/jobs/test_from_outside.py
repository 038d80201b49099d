"""The training job and the network of docs/extending.md, run by the command."""

from __future__ import annotations

import json

import h5py
import numpy as np

from emjax.train.weights import restore_params

from ..extending import write_package
from ..tasks.small import smooth_noise
from .running import run_command


def test_a_training_job_from_outside_is_its_task_its_config_and_less_than_60_lines(
    tmp_path, monkeypatch, capsys
):
    """It trains a network that comes from outside as well, chosen on the command line."""
    (tmp_path / "toys").mkdir()
    toys = write_package(tmp_path / "toys")
    monkeypatch.syspath_prepend(str(toys))
    assert len((toys / "copy_job.py").read_text().splitlines()) < 60
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = smooth_noise((8, 48, 96))
    config, run = str(toys / "copy_config.py"), tmp_path / "run"
    fields = {
        "data.volumes": f"{tmp_path}/a.h5:raw?voxel_nm=40,12,12",
        "model.name": "toy",
        "model.width": 3,
        "mesh.data": 1,
        "optimizer.name": "sgd",
    }
    assert run_command(config, run, fields) == 0
    results = json.loads((run / "results.json").read_text())
    assert results["steps"] == 2 and results["val_error_chance"] == 0.25
    assert 0 < results["val_error"] < 1
    assert "held-out error" in capsys.readouterr().out
    weights = restore_params(run)
    kernel = weights.params["backbone"]["stem"]["kernel"]
    assert np.shape(kernel) == (1, 3, 3, 1, 3) and weights.spec.job == "copy"
    # Wrong values are answered as those of emjax's own networks are.
    assert run_command(config, tmp_path / "no", fields | {"model.width": 0}) == 2
    assert "model.width=0 must be a positive whole number" in capsys.readouterr().err
