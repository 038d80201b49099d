from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.train.readable import check_readable
from emjax.train.weights import restore_params

from .toy import Stopping, ToyTask, run_toy, same, toy_config

# Files of a step that a crash or a full disk may cut off.
PARTS = ["params/d/*", "train/d/*", "params/manifest.ocdbt", "params/_METADATA", "data/metadata"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A run that was switched off after it saved steps 4 and 8."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(KeyboardInterrupt):
        run_toy(toy_config(optimizer__ema_decay=0.9), folder, Stopping(at=10))
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    return run_toy(toy_config(optimizer__ema_decay=0.9), folder)


def _truncate(step: Path, pattern: str, keep: float = 0.5) -> None:
    (path,) = step.glob(pattern)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


@pytest.mark.parametrize("part", PARTS)
def test_torn_checkpoint_is_skipped(tmp_path, stopped, straight, caplog, part):
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    torn = folder / "checkpoints/8"
    _truncate(torn, part)
    with caplog.at_level(logging.WARNING, logger="absl"):
        result = run_toy(toy_config(optimizer__ema_decay=0.9), folder)
    assert any(f"checkpoint {torn} is damaged" in r.getMessage() for r in caplog.records)
    assert same(straight.params, result.params)
    steps = sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
    assert steps == [4, 8, 12]
    assert (folder / "damaged_checkpoints/8").is_dir()


def test_no_readable_checkpoint(tmp_path, stopped):
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    for step in ("4", "8"):
        _truncate(folder / "checkpoints" / step, "params/d/*")
    with pytest.raises(InputError, match="step 8.*overwrite=true"):
        run_toy(toy_config(optimizer__ema_decay=0.9), folder)
    # Nothing was moved: the fault may not be the files'.
    assert (folder / "checkpoints/8").is_dir()


def test_other_network_is_named(tmp_path, stopped):
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    with pytest.raises(InputError, match=r"backbone/encoder/bias: saved \(8,\), needed \(5,\)"):
        run_toy(toy_config(optimizer__ema_decay=0.9), folder, task=ToyTask(width=5))


@pytest.mark.parametrize("part", PARTS[:2] + PARTS[-1:])
def test_check_readable(tmp_path, stopped, part):
    step = tmp_path / "8"
    shutil.copytree(stopped / "checkpoints/8", step)
    check_readable(step)
    _truncate(step, part)
    with pytest.raises(ValueError):
        check_readable(step)


def test_weights_from_every_kind_of_folder(stopped):
    from_run = restore_params(stopped)
    assert from_run.source == str(stopped / "checkpoints/8/ema")
    assert from_run.spec.job == "toy" and from_run.spec.volumes == ("a.h5",)
    assert same(from_run.params, restore_params(stopped / "checkpoints/8").params)
    raw = restore_params(stopped / "checkpoints/8/params").params
    assert not same(from_run.params, raw)
    assert isinstance(raw["backbone"]["encoder"]["kernel"], np.ndarray)


def test_weights_prefer_the_best_step_and_skip_torn_ones(tmp_path, stopped, caplog):
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    (folder / "best.json").write_text('{"step": 4}')
    assert restore_params(folder).source.endswith("checkpoints/4/ema")
    _truncate(folder / "checkpoints/4", "ema/d/*")
    assert restore_params(folder).source.endswith("checkpoints/8/ema")
    (folder / "best.json").write_text('{"step": 5}')
    assert restore_params(folder).source.endswith("checkpoints/8/ema")
    assert "names step 5, whose checkpoint is gone: step 8, the last, is read" in caplog.text


def test_weights_errors(tmp_path):
    with pytest.raises(InputError, match="no such checkpoint"):
        restore_params(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no checkpoint"):
        restore_params(tmp_path)


@pytest.mark.parametrize("text", ["", '{"step"', "[]", '{"metric": "loss"}'])
def test_a_damaged_best_file_is_the_users_to_mend(tmp_path, text):
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    (tmp_path / "best.json").write_text(text)
    with pytest.raises(
        InputError, match=r"best\.json is damaged.*give a step.*checkpoints/4"
    ) as error:
        restore_params(tmp_path)
    assert "\n" not in str(error.value)
