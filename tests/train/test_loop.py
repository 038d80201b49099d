from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.runs.disk import is_disk_full
from emjax.train import loop

from .toy import (
    BATCH_SIZE,
    CROP_SIZE,
    Stopping,
    ToyBatches,
    ToyTask,
    norm_evaluator,
    run_toy,
    same,
    toy_config,
    toy_mesh,
)


def _lines(folder: Path) -> list[dict]:
    return [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]


def test_trains_and_reports(tmp_path):
    result = run_toy(toy_config(), tmp_path, evaluator=norm_evaluator)
    assert result.steps == 12 and not result.preempted and result.skipped_steps == 0
    assert result.loss_last < result.loss_first
    assert result.voxels_per_s > 0
    assert result.evaluation == {"score": -8.0}
    lines = _lines(tmp_path)
    losses = [loss for line in lines for loss in line.get("losses", [])]
    assert len(losses) == 12
    # 5 % of 12 steps is one step.
    assert result.loss_first == losses[0] and result.loss_last == losses[-1]
    assert [line["step"] for line in lines if "eval" in line] == [4, 8, 12]
    assert any((tmp_path / "tensorboard").iterdir())
    assert set(result.results()) == {
        "steps",
        "loss_first",
        "loss_last",
        "voxels_per_s",
        "skipped_steps",
    }


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer__accumulate_steps": 2, "optimizer__ema_decay": 0.9}],
    ids=["plain", "accumulated_averaged"],
)
def test_resume_is_exact(tmp_path, settings):
    config = toy_config(**settings)
    straight = run_toy(config, tmp_path / "straight", evaluator=norm_evaluator)
    with pytest.raises(KeyboardInterrupt):
        run_toy(config, tmp_path / "resumed", Stopping(at=6), evaluator=norm_evaluator)
    resumed = run_toy(config, tmp_path / "resumed", evaluator=norm_evaluator)
    assert same(straight.params, resumed.params)
    assert straight.loss_first == resumed.loss_first and straight.loss_last == resumed.loss_last
    # The record is that of a run that was never stopped.
    pick = [
        {k: v for k, v in line.items() if k in ("step", "losses", "eval")}
        for line in _lines(tmp_path / "straight")
    ]
    flat = [loss for line in pick for loss in line.get("losses", [])]
    again = [loss for line in _lines(tmp_path / "resumed") for loss in line.get("losses", [])]
    assert flat == again
    # A finished run is not trained again.
    again = run_toy(config, tmp_path / "resumed", evaluator=norm_evaluator)
    assert again.results() == resumed.results() and same(again.params, resumed.params)


def test_resumes_on_another_mesh(tmp_path):
    config = toy_config(optimizer__learning_rate=1e-3)
    # Wide enough that fsdp splits its kernel.
    task = ToyTask(width=4096)
    straight = run_toy(config, tmp_path / "one", task=task)
    with pytest.raises(KeyboardInterrupt):
        run_toy(config, tmp_path / "many", Stopping(at=6), toy_mesh(4, fsdp=2), task=task)
    many = run_toy(config, tmp_path / "many", mesh=toy_mesh(2, data=1, fsdp=2), task=task)
    kernel = many.params["backbone"]["encoder"]["kernel"]
    assert kernel.sharding.spec == jax.sharding.PartitionSpec(None, "fsdp")
    for a, b in zip(jax.tree.leaves(straight.params), jax.tree.leaves(many.params), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-4)


def test_signal_saves_and_says_so(tmp_path):
    class Signalled(ToyBatches):
        def __next__(self):
            if self.next_batch == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__next__()

    config = toy_config()
    before = signal.getsignal(signal.SIGTERM)
    first = run_toy(config, tmp_path / "a", Signalled())
    assert first.preempted and first.steps == 6
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "a/checkpoints/6").is_dir()
    second = run_toy(config, tmp_path / "a")
    assert same(second.params, run_toy(config, tmp_path / "b").params)


def test_bad_steps_change_nothing(tmp_path):
    result = run_toy(toy_config(max_bad_steps=3), tmp_path / "a", ToyBatches(broken=(2, 3, 7)))
    assert result.skipped_steps == 3
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(result.params))
    with pytest.raises(InputError, match=r"3 steps in a row.*step 7.*a\.h5 at \(6, 6, 6\)"):
        run_toy(toy_config(max_bad_steps=3), tmp_path / "b", ToyBatches(broken=(4, 5, 6)))


def test_a_step_that_is_left_out_is_named(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="absl"):
        run_toy(toy_config(), tmp_path, ToyBatches(broken=(4,)))
    (text,) = [r.getMessage() for r in caplog.records if "left out" in r.getMessage()]
    assert text.startswith("step 5 was not finite") and "a.h5 at (4, 4, 4)" in text


def test_a_run_says_where_its_time_goes(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(loop, "peak_flops", lambda device: 1e9)
    monkeypatch.setattr(loop, "peak_memory", lambda devices: 2**30)
    with caplog.at_level(logging.INFO, logger="absl"):
        run_toy(toy_config(), tmp_path)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "GiB of arguments" in said and "TFLOP a step" in said
    lines = [line for line in _lines(tmp_path) if "train" in line]
    for line in lines:
        time, train = line["time"], line["train"]
        parts = time["data_wait_s"] + time["device_s"] + time["other_s"]
        assert time["step_s"] == pytest.approx(parts) and time["step_s"] > 0
        voxels = np.prod(CROP_SIZE) * time["examples_per_s"]
        assert time["voxels_per_s"] == pytest.approx(voxels)
        # 4 examples; a linear map of 32 voxels to 8 features, and one to 1.
        flops = 3 * 2 * 4 * (32 * 8 + 8)
        assert time["mfu"] == pytest.approx(flops * time["examples_per_s"] / 4 / 1e9)
        assert time["loader_queue"] == 1.0 and time["device_memory_gib"] == 1.0
        assert train["gradient_norm"] > 0 and train["update_norm"] > 0
        assert train["parameter_norm"] > 0 and train["learning_rate"] > 0


def test_the_table_shows_how_parameters_are_split(tmp_path, caplog):
    # 4099 columns are no multiple of 2, but the 32 rows are.
    task = ToyTask(width=4099)
    with caplog.at_level(logging.DEBUG, logger="absl"):
        run_toy(toy_config(num_steps=1), tmp_path, mesh=toy_mesh(2, data=1, fsdp=2), task=task)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "mesh.fsdp=2" not in said
    (row,) = [line for line in said.splitlines() if "backbone/encoder/kernel" in line]
    assert "('fsdp', None)" in row


def test_a_full_disk_is_told_with_its_folder(tmp_path, monkeypatch):
    def save(self, *_: object) -> None:
        raise ValueError("writing chunk: No space left on device [os error 28]")

    closed = []
    monkeypatch.setattr(loop.Checkpoints, "save", save)
    monkeypatch.setattr(loop.Checkpoints, "close", save)
    monkeypatch.setattr(loop.MetricsLog, "close", lambda log: closed.append(log))
    # The command says in one line what to do, and exits with 75: the input is not wrong.
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'") as raised:
        run_toy(toy_config(), tmp_path)
    assert is_disk_full(raised.value) and not isinstance(raised.value, InputError)
    assert len(closed) == 1


def test_best_checkpoint_is_kept(tmp_path):
    config = toy_config(save__keep=1, save__best_metric="score", eval__every_steps=2)
    run_toy(config, tmp_path, evaluator=norm_evaluator)
    steps = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    assert steps == [4, 12]
    assert json.loads((tmp_path / "best.json").read_text()) == {
        "step": 4,
        "metric": "score",
        "value": 0.0,
    }


def test_progress_is_plain_lines(tmp_path, capfd):
    run_toy(toy_config(), tmp_path)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("step ")]
    assert lines[0].startswith("step 3/12") and "left 0:00:" in lines[0]
    assert lines[-1].startswith("step 12/12") and "\r" not in "".join(lines)


def test_batch_size_must_divide(tmp_path):
    with pytest.raises(InputError, match=f"batch_size={BATCH_SIZE}.*use 8"):
        run_toy(toy_config(), tmp_path, mesh=toy_mesh(8))
    assert not any(tmp_path.iterdir())
