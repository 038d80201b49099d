"""Goes the whole way on generated data: pretrain, finetune, predict, segment, evaluate, and a report."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from absl import logging
from etils import epath
from ml_collections import ConfigDict

from emjax.command_line import load_config
from emjax.config import plain, told_fields
from emjax.field_overrides import override
from emjax.jobs import find_job, run_job
from emjax.jobs.demo.networks import Asked, check_networks
from emjax.jobs.demo.report import write_report
from emjax.jobs.demo.settings import Settings
from emjax.runs.folder import (
    RESULTS_FILE,
    is_finished,
    locate_run_folder,
    write_json,
    write_results,
)
from emjax.train.run_folder import open_training_folder

ON_DEVICES = True

# In the folder of the demo: stage -> how long it took, s.
_SECONDS_FILE = "seconds.json"
ARMS = ("pretrained", "scratch")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of the demo.

    Attributes:
        name: its folder below the demo's.
        config: file and preset.
        fields: what is set on the command line.
    """

    name: str
    config: str
    fields: Mapping[str, object]

    def make_config(self) -> ConfigDict:
        """Returns the configuration that the command has."""
        config = load_config(self.config)
        for name, value in self.fields.items():
            override(config, name, _text(value))
        return config

    def command(self, folder: Path) -> str:
        """Returns what a user would type."""
        words = ["python", "-m", "emjax.main", "--config", self.config]
        words += ["--workdir", str(folder / self.name)]
        words += [f"--config.{name}={_text(value)}" for name, value in self.fields.items()]
        return shlex.join(words)


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Runs all stages, each in a folder of its own, and writes `report.html` and `results.json`.

    Args:
        config: as made by `configs/demo.py`.
        workdir: run folder; stages that are finished there are not run again.

    Returns:
        Exit status: 0 done, 75 interrupted after saving.

    Raises:
        InputError: if a stage's input cannot work.
    """
    settings = Settings.from_config(config)
    folder = Path(os.fspath(locate_run_folder(workdir)))
    stages = make_stages(settings, folder)
    configs = [stage.make_config() for stage in stages]
    asked = [(made.job, Asked(plain(made), told_fields(made))) for made in configs]
    check_networks(asked[0][1], [found for job, found in asked if job == "finetune"])
    open_training_folder(folder, config)
    seconds = _read_seconds(folder)
    for number, stage in enumerate(stages, 1):
        began = time.monotonic()
        title = f"stage {number} of {len(stages)}, {stage.name}"
        status = _run_stage(stage, folder, title)
        if status is None:
            continue
        # Also what an interrupted stage took.
        seconds[stage.name] = seconds.get(stage.name, 0.0) + time.monotonic() - began
        write_json(epath.Path(folder / _SECONDS_FILE), seconds)
        if status:
            return status
    results = {}
    for arm in ARMS:
        for stage in (f"finetune_{arm}", f"evaluate_{arm}"):
            found = json.loads((folder / stage / RESULTS_FILE).read_text())
            results |= {f"{arm}_{name}": value for name, value in found.items()}
    write_results(folder, results)
    commands = {stage.name: stage.command(folder) for stage in stages}
    steps = {"pretraining": settings.pretrain_steps, "finetuning": settings.finetune_steps}
    report = write_report(folder, ARMS, results, commands, seconds, steps)
    print(f"report       {report}\nresults      {folder / RESULTS_FILE}", flush=True)
    return 0


def make_stages(settings: Settings, folder: Path) -> list[Stage]:
    """Returns the commands of the demo in their order.

    Args:
        settings: of the job.
        folder: of the demo.
    """
    preset = f":{settings.network}" if settings.network else ""
    pretrain = {
        "num_steps": settings.pretrain_steps,
        "data.volumes": settings.volumes,
        "eval.every_steps": settings.pretrain_steps,
        "save.every_steps": settings.pretrain_steps,
    }
    stages = [Stage("pretrain", f"configs/pretrain.py{preset}", pretrain)]
    for arm in ARMS:
        finetune = {
            "num_steps": settings.finetune_steps,
            "data.volumes": settings.labelled,
            "data.crop_size": settings.crop_size,
            "eval.volumes": settings.validation,
            "eval.every_steps": max(1, settings.finetune_steps // 4),
            "save.every_steps": max(1, settings.finetune_steps // 2),
        }
        if arm == "pretrained":
            finetune["init_from"] = folder / "pretrain"
        prediction, segmentation = folder / f"{arm}_prediction.zarr", folder / f"{arm}.zarr"
        predict = {
            "checkpoint": folder / f"finetune_{arm}",
            "input": settings.test_image,
            "output": prediction,
        }
        segment = {"input": prediction, "output": segmentation}
        evaluate = {
            "segmentation": segmentation,
            "labels": settings.test_labels,
            "image": settings.test_image,
        }
        stages += [
            Stage(f"finetune_{arm}", f"configs/finetune.py{preset}", finetune),
            Stage(f"predict_{arm}", "configs/predict.py", predict),
            Stage(f"segment_{arm}", "configs/segment.py", segment),
            Stage(f"evaluate_{arm}", "configs/evaluate.py", evaluate),
        ]
    return stages


def _read_seconds(folder: Path) -> dict[str, float]:
    """Returns how long the stages took that an earlier run of this demo has finished or begun."""
    try:
        return dict(json.loads((folder / _SECONDS_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _run_stage(stage: Stage, folder: Path, title: str) -> int | None:
    """Runs a stage in this process; returns its exit status, None if it was finished before."""
    config = stage.make_config()
    if is_finished(folder / stage.name, config):
        logging.info("%s: finished before", title)
        return None
    # What an interrupted stage left half written is its own affair; a volume of an earlier, other demo is not there,
    # because the folder was claimed for this configuration.
    logging.info("%s: %s", title, stage.command(folder))
    return run_job(find_job(config.job), config, folder / stage.name)


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
