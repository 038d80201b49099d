"""Services that metrics are sent to: what they get, that a run that goes on stays one run, and what is refused.

The services themselves are stand-ins with the calls that are used; the real ones are tried where they are installed.
"""

from __future__ import annotations

import importlib.machinery
import json
import sys
import types

import numpy as np
import pytest
from etils import epath

from emjax.config import base_config, validate
from emjax.errors import InputError
from emjax.train.metrics import MetricsLog
from emjax.train.trackers import TRACKERS, Trackers, check_trackers

IMAGE = np.zeros((4, 4, 3), np.uint8)


class FakeRun:
    """What `wandb.init` returns."""

    def __init__(self, options):
        self.options, self.logged, self.finished = options, [], False

    def define_metric(self, name, step_metric):
        assert (name, step_metric) == ("*", "step")

    def log(self, values):
        self.logged.append(values)

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    """A module in place of wandb; its runs, in the order in which they were opened."""
    module = types.ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    module.runs = []

    def init(**options):
        module.runs.append(FakeRun(options))
        return module.runs[-1]

    module.init, module.Image = init, lambda image: ("image", image.shape)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def _record(folder, step=0):
    trackers = Trackers("wandb", "mine", folder, {"seed": 1})
    return MetricsLog(folder, step, shown=True, trackers=trackers)


def test_metrics_and_pictures_reach_the_service(wandb, tmp_path):
    log = _record(epath.Path(tmp_path))
    log.log_steps(2, [{"loss": 3.0}, {"loss": 1.0}], {"voxels_per_s": 5.0})
    log.log_evaluation(2, {"val_loss": 0.5, "gone": float("nan")}, {"crops": IMAGE})
    log.close()
    (run,) = wandb.runs
    assert run.options["project"] == "mine" and run.options["config"] == {"seed": 1}
    assert run.logged == [
        {"train/loss": 2.0, "step": 2},
        {"time/voxels_per_s": 5.0, "step": 2},
        {"eval/val_loss": 0.5, "step": 2},
        {"eval/crops": ("image", (4, 4, 3)), "step": 2},
    ]
    assert run.finished


def test_a_run_that_goes_on_is_one_run_there(wandb, tmp_path):
    for _ in range(2):
        _record(epath.Path(tmp_path)).close()
    _record(epath.Path(tmp_path / "other")).close()
    ids = [run.options["id"] for run in wandb.runs]
    assert ids[0] == ids[1] != ids[2]
    assert all(run.options["resume"] == "allow" for run in wandb.runs)


def test_a_service_that_fails_on_the_way_does_not_end_the_run(wandb, tmp_path, caplog):
    log = _record(epath.Path(tmp_path))
    wandb.runs[0].log = lambda values: (_ for _ in ()).throw(ConnectionError("no network"))
    log.log_steps(1, [{"loss": 3.0}], {})
    log.log_steps(2, [{"loss": 2.0}], {})
    log.close()
    assert sum("log.to=wandb failed" in r.getMessage() for r in caplog.records) == 1
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_a_service_that_refuses_at_the_start_is_named(wandb, tmp_path, monkeypatch):
    monkeypatch.setattr(wandb, "init", lambda **_: (_ for _ in ()).throw(OSError("no login")))
    with pytest.raises(InputError, match="log.to=wandb: OSError: no login"):
        Trackers("wandb", "mine", epath.Path(tmp_path), {})


def test_names_and_packages_are_checked_before_any_work(wandb, monkeypatch):
    check_trackers("")
    check_trackers("wandb")
    with pytest.raises(InputError, match="log.to='wandv' is unknown; did you mean 'wandb'"):
        check_trackers("wandb,wandv")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'emjax\[mlflow\]'"):
        check_trackers("mlflow")


def test_no_service_is_the_default_and_changes_no_run():
    config = base_config("pretrain")
    assert config.log.to == ""
    with config.unlocked():
        config.data.volumes = "a.h5"
    validate(config)
    assert list(TRACKERS) == ["wandb", "mlflow"]


def test_the_real_mlflow_keeps_what_it_is_sent(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    trackers = Trackers("mlflow", "mine", epath.Path(tmp_path / "run"), {"seed": 1})
    trackers.scalars({"eval/val_loss": 0.5}, 7)
    trackers.close()
    client = mlflow.MlflowClient()
    run = client.get_run((tmp_path / "run" / "trackers" / "mlflow").read_text().strip())
    assert run.data.params == {"seed": "1"} and run.info.status == "FINISHED"
    (metric,) = client.get_metric_history(run.info.run_id, "eval/val_loss")
    assert (metric.value, metric.step) == (0.5, 7)


def test_the_real_wandb_keeps_a_run_in_the_folder_when_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    trackers = Trackers("wandb", "mine", epath.Path(tmp_path), {"seed": 1})
    trackers.scalars({"eval/val_loss": 0.5}, 7)
    trackers.image("eval/crops", IMAGE, 7)
    trackers.close()
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
