"""What a segmentation network is scored by: the loss and one metric for each target, on held-out crops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from emjax.jobs.finetune.report import draw_crops, summarise, write_plots
from emjax.tasks.segment import Segment
from emjax.tasks.segment_evaluation import SegmentEvaluation
from emjax.tasks.task import Params
from emjax.train.held_out import HeldOut
from emjax.train.judge import Evaluation


def score_names(values: Mapping[str, Any], task: Segment) -> list[str]:
    """Returns the names of the scores that a `SegmentJudge` may find."""
    del values
    names = ["val_loss"]
    for target in task.targets:
        names += [f"val_{target.score}"]
        names += [f"val_loss_{target.title}_{name}" for name, _ in target.losses]
    return names


class SegmentJudge:
    """A `Judge` of segmentation networks."""

    def __init__(self, given: HeldOut) -> None:
        """Reads held-out crops."""
        task = given.task
        crops = given.read_crops(task.crop_size)
        self._evaluation = SegmentEvaluation(task, crops, mesh=given.mesh, chunk=given.chunk)
        # Of the last evaluation: `val_<metric>` -> the sums of each crop that the metric is made of.
        self.sums: dict[str, np.ndarray] = {}
        self.pixel_nm = given.pixel_nm
        self._kinds = [target.title for target in task.targets]
        self._metrics = [f"val_{target.score}" for target in task.targets]
        if not any((crops[kind] >= 0).any() for kind in task.label_kinds):
            logging.warning(
                "no voxel of the held-out crops is labelled: there is no held-out loss and no metric, and the last "
                "checkpoint counts as the best; choose another part by eval.held_out_axis or eval.volumes"
            )

    def __call__(self, params: Params, step: int) -> Evaluation:
        """Scores parameters, and draws some crops."""
        scores, self.sums = self._evaluation.scores(params)
        names = [name for name in ("val_loss", *self._metrics) if name in scores]
        found = ", ".join(f"{name.removeprefix('val_')} {scores[name]:.4f}" for name in names)
        logging.info("step %d, held out: %s", step, found or "no labelled voxel, no score")
        return Evaluation(
            scores,
            {"crops": draw_crops(self._evaluation.show(params), self._kinds, self.pixel_nm)},
        )

    def references(self) -> dict[str, float]:
        """Returns nothing: losses and metrics mean something by themselves."""
        return {}

    def show(self, params: Params) -> list[dict[str, Any]]:
        """Computes what the pictures need."""
        return self._evaluation.show(params)

    def plot(self, folder: epath.Path, shown: list[dict[str, Any]]) -> list[epath.Path]:
        """Writes crops and curves."""
        return write_plots(folder, shown, self._kinds, self._metrics, self.pixel_nm)

    def summarise(self, results: Mapping[str, float]) -> list[str]:
        """Returns the held-out scores."""
        return summarise(results)
