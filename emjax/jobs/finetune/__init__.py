"""Trains a network on labelled volumes, from pretrained weights or from scratch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from emjax.jobs.finetune.judge import SegmentJudge, score_names
from emjax.tasks.build import build_segment
from emjax.tasks.segment import Segment
from emjax.train.job import TrainingJob, run_training

ON_DEVICES = True


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Finetunes as configured by `configs/finetune.py`; see `emjax.train.job.run_training`."""
    return run_training(JOB, config, workdir)


def _read_options(values: Mapping[str, Any], task: Segment) -> dict[str, Any]:
    return {
        "min_labelled": values["data"]["min_labelled"],
        "reject_probability": values["data"]["reject_probability"],
        "keep_ids": task.uses_ids,
        "label_names": task.label_names,
    }


def _remember(task: Segment) -> dict[str, Any]:
    return {"targets": list(task.names), "offsets": [o and list(o) for o in task.offsets]}


JOB = TrainingJob(
    build_task=build_segment,
    make_judge=SegmentJudge,
    score_names=score_names,
    labelled=True,
    read_options=_read_options,
    remember=_remember,
    what_next="--config configs/predict.py --config.checkpoint={folder} --config.input=VOLUME "
    "--config.output=prediction.zarr",
)
