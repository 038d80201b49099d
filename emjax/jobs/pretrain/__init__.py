"""Trains a network on unlabelled volumes."""

from __future__ import annotations

import os

from ml_collections import ConfigDict

from emjax.jobs.pretrain.judge import PretrainJudge, build_judged, probe_parts, score_names
from emjax.train.job import TrainingJob, run_training

ON_DEVICES = True
JOB = TrainingJob(
    build_task=build_judged,
    make_judge=PretrainJudge,
    score_names=score_names,
    scored_on=probe_parts,
    # Finetuning takes over the network, whatever preset it was made of.
    what_next="--config configs/finetune.py:neurons --config.init_from={folder} --config.data.volumes='IMAGE|LABELS'   "
    "# takes over this network: name what is learnt, no preset of a network",
)


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Pretrains as configured by `configs/pretrain.py`; see `emjax.train.job.run_training`."""
    return run_training(JOB, config, workdir)
