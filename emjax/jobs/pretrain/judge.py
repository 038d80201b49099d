"""What a pretrained network is scored by: finding tissue again, reconstruction, collapse, and membranes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
from absl import logging
from etils import epath

from emjax.config import pick
from emjax.jobs.pretrain.report import draw_crops, summarise, write_plots
from emjax.parallel.compile import jit
from emjax.parallel.mesh import replicated
from emjax.tasks.build import build_pretrain
from emjax.tasks.membrane_probe import MembraneProbe
from emjax.tasks.pretrain import Pretrain
from emjax.tasks.pretrain_evaluation import EvaluationSettings, PretrainEvaluation, check_settings
from emjax.tasks.task import Params
from emjax.train.held_out import HeldOut
from emjax.train.judge import Evaluation


def build_judged(values: Mapping[str, Any]) -> Pretrain:
    """Makes the pretraining task, of a configuration by which it can also be judged.

    Args:
        values: as for `build_pretrain`, with the group `eval`.

    Raises:
        InputError: on a value that is unknown or that does not go with the others.
    """
    task = build_pretrain(values)
    check_settings(pick(EvaluationSettings, values["eval"]), len(task.backbone.level_strides))
    return task


def probe_parts(values: Mapping[str, Any]) -> dict[str, str]:
    """Returns the fields of the membrane probe and their addresses."""
    return {f"eval.{name}": values["eval"][name] for name in ("probe_train", "probe_test")}


def score_names(values: Mapping[str, Any], task: Pretrain) -> list[str]:
    """Returns the names of the scores that a `PretrainJudge` may find."""
    names = ["retrieval_top1", "retrieval_top1_features", "matching_error_cosine_voxels"]
    names += ["psnr_db", "ssim", "effective_rank"]
    if task.settings.cross and task.settings.tokens == "spatial":
        names.append("matching_error_voxels")
    names += [f"variance_level{level}" for level in range(len(task.backbone.level_strides))]
    if values["eval"]["probe_train"] or values["eval"]["probe_test"]:
        names += ["probe_average_precision", "probe_roc_auc", "probe_f1"]
    return names


class PretrainJudge:
    """A `Judge` of pretraining: `PretrainEvaluation`, and the membrane probe where parts for it are given."""

    def __init__(self, given: HeldOut) -> None:
        """Reads held-out windows.

        Raises:
            InputError: if there is too little to score with.
        """
        self._given = given
        task, judged = given.task, given.values["eval"]
        self._evaluation = PretrainEvaluation(
            task,
            given.read_crops(task.window_size)["image"],
            pick(EvaluationSettings, judged),
            mesh=given.mesh,
            chunk=given.chunk,
        )
        self._scorers: list[Any] = [self._evaluation]
        if judged["probe_train"] or judged["probe_test"]:
            self._scorers.append(MembraneProbe(task, judged, mesh=given.mesh))

    def __call__(self, params: Params, step: int) -> Evaluation:
        """Scores parameters, and draws some crops."""
        scores: dict[str, float] = {}
        for scorer in self._scorers:
            scores |= scorer(params)
        references = self.references()
        logging.info(
            "step %d: retrieval top-1 %.3f (untrained %.3f, raw pixels %.3f)",
            step,
            scores["retrieval_top1"],
            references["retrieval_top1_untrained"],
            references["retrieval_top1_raw"],
        )
        crops = self._evaluation.show(params)
        return Evaluation(
            scores, {"crops": draw_crops(crops, self._given.pixel_nm)} if crops else {}
        )

    @functools.cached_property
    def _references(self) -> dict[str, float]:
        # The network before its first step, from the same seed: what it scores, training did not add. Asked for at
        # the first evaluation, so that nobody waits for it before the first step.
        mesh = self._given.mesh
        with jax.set_mesh(mesh):
            start = jit(self._given.task.init, out_shardings=replicated(mesh))
            untrained = start(jax.random.key(self._given.settings.seed))
            found: dict[str, float] = {}
            for scorer in self._scorers:
                scores = {f"{name}_untrained": value for name, value in scorer(untrained).items()}
                found |= scores | scorer.baselines()
        return found

    def references(self) -> dict[str, float]:
        """Returns the scores of the untrained network, raw pixels and chance."""
        return self._references

    def show(self, params: Params) -> list[dict[str, Any]]:
        """Computes what the pictures need."""
        return self._evaluation.show(params)

    def plot(self, folder: epath.Path, shown: list[dict[str, Any]]) -> list[epath.Path]:
        """Writes crops and curves."""
        return write_plots(folder, shown, self.references(), self._given.pixel_nm)

    def summarise(self, results: Mapping[str, float]) -> list[str]:
        """Returns the scores beside what they compare with."""
        return summarise(results)
