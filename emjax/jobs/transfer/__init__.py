"""Compares weights of elsewhere with training from scratch: a grid of starts and seeds, all else equal."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging
from etils import epath
from ml_collections import ConfigDict

from emjax.config import Config, plain
from emjax.jobs.finetune import JOB as FINETUNE
from emjax.jobs.transfer.arms import SCRATCH, Arm
from emjax.jobs.transfer.frozen import check_frozen, train_frozen
from emjax.jobs.transfer.judge import ArmJudge, Crops, read_crops
from emjax.jobs.transfer.report import write_report
from emjax.jobs.transfer.settings import Settings
from emjax.jobs.transfer.weights import Start, find_start, write_start
from emjax.models.build import fit_to_voxels
from emjax.parallel import runtime
from emjax.runs.exit_status import DONE
from emjax.runs.folder import is_finished
from emjax.targets.metrics import Metric
from emjax.tasks.build import build_segment
from emjax.train.job import prepare_training, run_training
from emjax.train.run_folder import open_training_folder

ON_DEVICES = True

# The arms decide which networks they compare.
JOB = dataclasses.replace(FINETUNE, make_judge=ArmJudge, inherits=False)
# Fields of the comparison that its trainings do not have.
_OWN = ("source", "family", "arms", "seeds", "frozen_batches", "resamples")


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Trains every arm with every seed, and compares them.

    Args:
        config: as made by `configs/transfer.py`.
        workdir: folder of the comparison; runs that are finished there are not run again, one that was stopped goes on.

    Returns:
        Exit status: 0 done, 75 interrupted after saving.

    Raises:
        InputError: if a field, the weights or the volumes cannot be used, before anything is trained.
    """
    settings = Settings.from_config(config)
    values = plain(config)
    starts = {arm: _start(settings, arm, values["model"]) for arm in settings.arms}
    metrics: dict[str, Metric] = {}
    for arm, start in starts.items():
        task = build_segment({**values, "model": _completed(start.model, values)})
        metrics = {f"val_{target.score}": target.metric for target in task.targets}
        if arm.frozen:
            check_frozen(task)
    folder = Path(os.fspath(open_training_folder(workdir, config)))
    weights = {arm: _written(folder, arm, start) for arm, start in starts.items()}
    first, count = settings.arms[0], len(settings.arms) * len(settings.seeds)
    heading = (
        f"Source `{settings.source}`; {values['num_steps']} steps of {values['data']['batch_size']} crops of "
        f"{tuple(values['data']['crop_size'])} voxels, seeds {', '.join(map(str, settings.seeds))}. Differences from "
        f"'{first.title}' are paired by seeds and held-out crops; intervals are of a bootstrap over both."
    )
    lines: list[str] = []
    found: dict[str, list[Crops]] = {arm.title: [] for arm in settings.arms}
    number = 0
    for seed in settings.seeds:
        for arm in settings.arms:
            number += 1
            run_folder = folder / arm.folder / f"seed{seed}"
            chosen = arm_values(values, arm, starts[arm].model, weights[arm], seed)
            training = Config(chosen).lock()
            if not is_finished(run_folder, training):
                logging.info("run %d of %d: arm '%s', seed %d", number, count, arm.title, seed)
                if arm.frozen:
                    prepared = prepare_training(JOB, training, run_folder)
                    status = train_frozen(prepared, settings.frozen_batches)
                else:
                    status = run_training(JOB, training, run_folder)
                if status:
                    return status
            else:
                logging.info(
                    "run %d of %d: arm '%s', seed %d is done", number, count, arm.title, seed
                )
            if runtime.is_main():
                found[arm.title].append(read_crops(epath.Path(run_folder)))
                done = number == count
                lines = write_report(
                    folder,
                    metrics,
                    found,
                    settings.resamples if done else 200,
                    heading,
                    complete=done,
                )
    print("\n".join(lines), flush=True)
    return DONE


def arm_values(
    values: Mapping[str, Any], arm: Arm, model: Mapping[str, Any], weights: str, seed: int
) -> dict[str, Any]:
    """Returns the fields of finetuning with which one arm is trained.

    Args:
        values: fields of the comparison, as plain dicts.
        arm: the arm.
        model: fields of its network.
        weights: run that it starts from; '': from scratch.
        seed: of the run.
    """
    training = {name: value for name, value in values.items() if name not in _OWN}
    training |= {"job": "finetune", "seed": seed, "init_from": weights, "overwrite": False}
    training["model"] = dict(model)
    if arm.start == SCRATCH:
        # Smaller rates of earlier layers keep what these have learnt, and here they have learnt nothing.
        training["optimizer"] = {**values["optimizer"], "layer_decay": 1.0}
    return training


def _start(settings: Settings, arm: Arm, model: dict[str, object]) -> Start:
    if arm.start == SCRATCH:
        return Start(arm.model(model), None, None)
    return find_start(settings.source, settings.family, arm, model)


def _completed(model: dict[str, object], values: dict[str, object]) -> dict[str, object]:
    """Returns a network whose open fields are chosen, for checks that need no volumes."""
    data = values["data"]
    assert isinstance(data, dict)
    return fit_to_voxels(model, data["voxel_nm"])


def _written(folder: Path, arm: Arm, start: Start) -> str:
    """Writes an arm's weights, by one process; returns what `init_from` takes."""
    place = folder / "weights" / arm.folder.removesuffix("_frozen")
    if start.params is None:
        return start.run
    if runtime.is_main():
        write_start(place, start)
    runtime.agree(0)
    return str(place)
