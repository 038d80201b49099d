"""What becomes of an output when its run fails, is refused, or replaces what is there."""

from __future__ import annotations

import functools
import json
import os

import jax
import numpy as np
import pytest

from emjax.blocks import output as outputs
from emjax.blocks import passes
from emjax.blocks.lock import FolderLock, OutputLock
from emjax.blocks.run import run_blocks
from emjax.inference.predictor import Predictor
from emjax.jobs import predict
from emjax.jobs.predict import plan as predict_plan
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume

from ..running import read_refusal, run_command
from .material import SHAPE, make_fields

CONFIG = "configs/predict.py"
pytestmark = pytest.mark.usefixtures("two_devices")


def test_a_network_that_diverged_writes_nothing(folder, capfd, monkeypatch) -> None:
    output = folder / "diverged.zarr"
    real = predict_plan.restore_params

    def diverged(path):
        weights = real(path)
        jax.tree.map(lambda leaf: leaf.fill(np.nan), weights.params)
        return weights

    monkeypatch.setattr(predict_plan, "restore_params", diverged)
    assert run_command(CONFIG, folder / "diverged", make_fields(folder, output)) == 2
    assert (
        "not finite in block 0 [0:6,0:20,0:50], in its tile [0:4,0:16,0:16]"
        in capfd.readouterr().err
    )
    assert not open_volume(str(output)).store.read().result().any()


def test_an_error_that_stays_is_told_at_the_end(folder, capfd, monkeypatch) -> None:
    def broken(*_):
        raise OSError("Stale file handle")

    monkeypatch.setattr(Predictor, "__call__", broken)
    monkeypatch.setattr(passes, "run_blocks", functools.partial(run_blocks, backoff_s=0))
    output = folder / "stale.zarr"
    assert run_command(CONFIG, folder / "stale", make_fields(folder, output)) == 2
    error = capfd.readouterr().err
    assert "2 of 2 blocks failed, the first is block 0 [0:6,0:20,0:50]: OSError: Stale" in error


def test_a_second_run_on_an_output_is_refused(folder, tmp_path, capfd, monkeypatch) -> None:
    monkeypatch.setattr(predict, "Predictor", lambda *_, **__: pytest.fail("it was compiled"))
    fields = make_fields(folder, tmp_path / "out.zarr")
    with OutputLock(tmp_path / "out.zarr", "segment"):
        message = read_refusal(capfd, CONFIG, tmp_path / "run", fields)
        assert f"written by another run: segment, process {os.getpid()} on " in message
    assert not (tmp_path / "out.zarr").exists() and not (tmp_path / "run" / "blocks").exists()


def test_a_part_is_worked_on_once_and_keeps_the_output(folder, tmp_path, capfd) -> None:
    workdir, fields = tmp_path / "run", make_fields(folder, tmp_path / "out.zarr", part="0/2")
    assert run_command(CONFIG, workdir, fields) == 0
    with OutputLock(tmp_path / "out.zarr", "predict part=1/2", (1, 2)):
        message = read_refusal(capfd, CONFIG, workdir, fields | {"part": "1/2"})
        assert "another run: predict part=1/2" in message
        # The first part may go on beside it, but not delete what it works on.
        assert run_command(CONFIG, workdir, fields) == 0
        other = fields | {"variants": 4, "overwrite": True}
        assert "another run: predict part=1/2" in read_refusal(capfd, CONFIG, workdir, other)
    assert run_command(CONFIG, workdir, fields | {"part": "1/2"}) == 0
    assert json.loads((workdir / "results.json").read_text())["blocks"] == 2


def test_other_parts_may_begin_as_soon_as_the_output_is_there(folder, tmp_path, monkeypatch):
    """They look for it without a lock, so that it must not be seen while the first part keeps others out."""
    workdir, fields = tmp_path / "run", make_fields(folder, tmp_path / "out.zarr", part="0/2")

    def create(path, *arguments, **settings):
        store = create_volume(path, *arguments, **settings)
        with FolderLock(workdir, "", (1, 2)), OutputLock(path, "", (1, 2)):
            assert (workdir / "inputs.json").exists()
        return store

    monkeypatch.setattr(predict, "create_volume", create)
    assert run_command(CONFIG, workdir, fields) == 0


def test_other_parts_await_that_a_finished_output_is_replaced(
    folder, tmp_path, capfd, monkeypatch
) -> None:
    workdir, fields = tmp_path / "run", make_fields(folder, tmp_path / "out.zarr")
    for part in ("0/2", "1/2"):
        assert run_command(CONFIG, workdir, fields | {"part": part}) == 0
    again = fields | {"overwrite": True}
    monkeypatch.setattr(outputs, "_PATIENCE", 0.0)
    assert "start that one too" in read_refusal(capfd, CONFIG, workdir, again | {"part": "1/2"})
    assert run_command(CONFIG, workdir, again | {"part": "0/2"}) == 0
    assert run_command(CONFIG, workdir, again | {"part": "1/2"}) == 0
    results = json.loads((workdir / "results.json").read_text())
    assert (results["blocks"], results["blocks_resumed"]) == (2, 0)


def test_other_settings_in_an_unfinished_workdir_are_refused(folder, tmp_path, capfd) -> None:
    output, workdir = tmp_path / "out.zarr", tmp_path / "run"
    part = make_fields(folder, output, part="0/2")
    assert run_command(CONFIG, workdir, part) == 0
    message = read_refusal(capfd, CONFIG, workdir, part | {"variants": 4})
    assert "another configuration (variants: 1 -> 4)" in message
    assert run_command(CONFIG, workdir, part | {"variants": 4, "overwrite": True}) == 0
    assert read_attributes(str(output))["targets"]


def test_overwrite_replaces_a_volume_that_is_there(folder, tmp_path) -> None:
    output = tmp_path / "out.zarr"
    create_volume(output, (4, 4, 4), "uint8", None, {"old": 1})
    assert run_command(CONFIG, tmp_path / "run", make_fields(folder, output, overwrite=True)) == 0
    assert open_volume(str(output)).shape == (4, *SHAPE)
    assert "old" not in read_attributes(str(output))
