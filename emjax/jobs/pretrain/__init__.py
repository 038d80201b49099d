"""Trains a network on unlabelled volumes."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from emjax.augment.recipes import window_size
from emjax.config import plain, validate
from emjax.data.heldout import hold_out
from emjax.data.normalization import RULE
from emjax.data.opening import OpenedEntry, open_entries
from emjax.jobs.pretrain.report import closing_lines, draw_crops, write_plots
from emjax.parallel import runtime
from emjax.parallel.compile import jit
from emjax.parallel.mesh import check_batch_size, make_mesh, replicated
from emjax.runs.exit_status import PREEMPTED
from emjax.runs.folder import write_results
from emjax.runs.spec import RunSpec
from emjax.tasks.build import build_pretrain
from emjax.tasks.membrane_probe import MembraneProbe
from emjax.tasks.pretrain_evaluation import EvaluationSettings, PretrainEvaluation, check_settings
from emjax.train.loop import Evaluation, fit
from emjax.train.preparation import (
    HELD_OUT_SEED,
    check_disk,
    common_voxel_nm,
    make_batches,
    make_crops,
    with_network,
)
from emjax.train.run_folder import open_training_folder

ON_DEVICES = True


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Pretrains as configured, and writes checkpoints, `results.json`, TensorBoard files and plots to `workdir`.

    Args:
        config: as made by `configs/pretrain.py`.
        workdir: run folder; continued when it holds an unfinished run of the same configuration.

    Returns:
        Exit status: 0 done, 75 interrupted after saving.

    Raises:
        InputError: if the configuration, the volumes or the folder cannot work; before anything is compiled.
    """
    validate(config)
    entries = open_entries(config.data.volumes, exclude=config.data.exclude)
    voxel_nm = common_voxel_nm(plain(config), entries)
    values = with_network(plain(config), voxel_nm)
    task = build_pretrain(values)
    judged = EvaluationSettings(
        level=config.eval.level,
        queries=config.eval.queries,
        distractors=config.eval.distractors,
        exclusion_radius=tuple(config.eval.exclusion_radius),
        own_orientation=config.eval.own_orientation,
    )
    check_settings(judged, len(task.backbone.level_strides))
    mesh = make_mesh(values["mesh"])
    check_batch_size(config.data.batch_size, mesh)
    folder = open_training_folder(workdir, config)
    layers = task.backbone.layers
    check_disk(task, config, folder, mesh, layers)
    window = window_size(task.crop_size, task.recipe)
    training, windows = _split(values, entries, window)
    batches = make_batches(values, make_crops(values, training, window, seed=config.seed))

    runtime.use_compilation_cache()
    with jax.set_mesh(mesh):
        chunk = math.gcd(len(windows), config.data.batch_size)
        evaluation = PretrainEvaluation(task, windows, judged, mesh=mesh, chunk=chunk)
        measures = [evaluation]
        if config.eval.probe_train or config.eval.probe_test:
            measures.append(MembraneProbe(task, values["eval"], mesh=mesh))

    @functools.cache
    def references() -> dict[str, float]:
        # The network before its first step, from the same seed: what it scores, training did not add. Asked for at
        # the first evaluation, so that nobody waits for it before the first step.
        with jax.set_mesh(mesh):
            untrained = jit(task.init, out_shardings=replicated(mesh))(jax.random.key(config.seed))
            found: dict[str, float] = {}
            for measure in measures:
                scores = {f"{name}_untrained": value for name, value in measure(untrained).items()}
                found |= scores | measure.baselines()
        return found

    def evaluator(params: Any, step: int) -> Evaluation:
        scores: dict[str, float] = {}
        for measure in measures:
            scores |= measure(params)
        logging.info(
            "step %d: retrieval top-1 %.3f (untrained %.3f, raw pixels %.3f)",
            step,
            scores["retrieval_top1"],
            references()["retrieval_top1_untrained"],
            references()["retrieval_top1_raw"],
        )
        crops = evaluation.show(params)
        return Evaluation(scores, {"crops": draw_crops(crops)} if crops else {})

    spec = RunSpec(
        job=config.job,
        config=values,
        voxel_nm=voxel_nm,
        normalization=RULE,
        volumes=tuple(entry.image.name for entry in training),
    )
    try:
        result = fit(
            task,
            batches,
            config,
            folder,
            mesh=mesh,
            run_spec=spec,
            evaluator=evaluator,
            layers=layers,
        )
    finally:
        batches.close()
    if result.preempted:
        logging.info("interrupted after step %d, saved; the same command continues", result.steps)
        return PREEMPTED

    results = result.results() | result.evaluation | references()
    for number, entry in enumerate(training):
        results[f"normalization_low_volume{number}"] = entry.normalization.low
        results[f"normalization_high_volume{number}"] = entry.normalization.high
    with jax.set_mesh(mesh):
        crops = evaluation.show(result.params)
    if runtime.is_main():
        plots = write_plots(folder, crops, references())
        write_results(folder, results)
        print(closing_lines(folder, results, plots), flush=True)
    return 0


def _split(
    values: Mapping[str, Any], entries: list[OpenedEntry], window: tuple[int, int, int]
) -> tuple[list[OpenedEntry], np.ndarray]:
    """Returns the training volumes, and held-out windows `[eval.crops, *window]` uint8."""
    judged = values["eval"]
    if judged["volumes"]:
        training, held_out = entries, open_entries(judged["volumes"])
    else:
        training, held_out = hold_out(entries, judged["held_out"], judged["margin"], window)
    crops = make_crops(values, held_out, window, seed=HELD_OUT_SEED)
    return training, crops.stack(range(judged["crops"]))["image"]
