"""Trains a network on labelled volumes, from scratch or from a pretrained one."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from emjax.augment.recipes import window_size
from emjax.config import plain, validate
from emjax.data.heldout import hold_out, limit_labels
from emjax.data.labelled import check_labelled, find_objects
from emjax.data.normalization import RULE
from emjax.data.opening import OpenedEntry, open_entries
from emjax.jobs.finetune.report import closing_lines, draw_crops, write_plots
from emjax.parallel import runtime
from emjax.parallel.mesh import check_batch_size, make_mesh
from emjax.runs.exit_status import PREEMPTED
from emjax.runs.folder import write_results
from emjax.runs.spec import RunSpec, check_voxel_nm
from emjax.tasks.build import build_segment
from emjax.tasks.segment_evaluation import SegmentEvaluation
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
from emjax.train.weights import restore_params

ON_DEVICES = True


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Finetunes as configured, and writes checkpoints, `results.json`, TensorBoard files and plots to `workdir`.

    Args:
        config: as made by `configs/finetune.py`.
        workdir: run folder; continued when it holds an unfinished run of the same configuration.

    Returns:
        Exit status: 0 done, 75 interrupted after saving.

    Raises:
        InputError: if the configuration, the volumes, the weights or the folder cannot work; before anything is
            compiled.
    """
    validate(config)
    entries = open_entries(config.data.volumes, exclude=config.data.exclude)
    check_labelled(entries, "data.volumes")
    voxel_nm = common_voxel_nm(plain(config), entries)
    values = _with_network(plain(config), voxel_nm)
    task = build_segment(values)
    mesh = make_mesh(values["mesh"])
    check_batch_size(config.data.batch_size, mesh)
    window = window_size(task.crop_size, task.recipe)
    training, held_out = _split(values, entries, window)
    find_objects(training)
    folder = open_training_folder(workdir, config)
    layers = task.backbone.layers
    check_disk(task, config, folder, mesh, layers)
    crops = make_crops(
        values,
        training,
        window,
        seed=config.seed,
        min_labelled=config.data.min_labelled,
        reject_probability=config.data.reject_probability,
        keep_ids=task.uses_ids,
    )
    judged = make_crops(
        values,
        held_out,
        task.crop_size,
        seed=HELD_OUT_SEED,
        min_labelled=config.data.min_labelled,
        reject_probability=config.data.reject_probability,
        keep_ids=task.uses_ids,
    ).stack(range(config.eval.crops))
    batches = make_batches(values, crops)

    runtime.use_compilation_cache()
    with jax.set_mesh(mesh):
        chunk = math.gcd(config.eval.crops, config.data.batch_size)
        evaluation = SegmentEvaluation(task, judged, mesh=mesh, chunk=chunk)
    kinds = [target.kind for target in task.targets]
    metrics = [f"val_{target.metric.name}" for target in task.targets]

    def evaluator(params: Any, step: int) -> Evaluation:
        scores = evaluation(params)
        found = ", ".join(f"{name} {scores[name]:.3f}" for name in metrics if name in scores)
        logging.info("step %d: held-out loss %.4f, %s", step, scores["val_loss"], found)
        return Evaluation(scores, {"crops": draw_crops(evaluation.show(params), kinds)})

    spec = RunSpec(
        job=config.job,
        config=values,
        voxel_nm=voxel_nm,
        normalization=RULE,
        volumes=tuple(entry.image.name for entry in training),
        task={"targets": list(task.names), "offsets": [o and list(o) for o in task.offsets]},
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

    results = result.results() | result.evaluation
    for number, entry in enumerate(training):
        results[f"normalization_low_volume{number}"] = entry.normalization.low
        results[f"normalization_high_volume{number}"] = entry.normalization.high
    with jax.set_mesh(mesh):
        shown = evaluation.show(result.params)
    if runtime.is_main():
        plots = write_plots(folder, shown, kinds, metrics)
        write_results(folder, results)
        print(closing_lines(folder, results, plots), flush=True)
    return 0


def _with_network(values: dict[str, Any], voxel_nm: Sequence[float]) -> dict[str, Any]:
    """Chooses the strides: those of the weights that it starts from, else those that fit the voxels."""
    if not values["init_from"]:
        return with_network(values, voxel_nm)
    spec = restore_params(values["init_from"]).spec
    check_voxel_nm(voxel_nm, spec.voxel_nm, "data.volumes", f"init_from={values['init_from']}")
    return with_network(values, spec.voxel_nm, spec.config["model"])


def _split(
    values: Mapping[str, Any], entries: list[OpenedEntry], window: tuple[int, int, int]
) -> tuple[list[OpenedEntry], list[OpenedEntry]]:
    """Returns the volumes to train on, within the budget of labels, and those to validate on."""
    data, judged = values["data"], values["eval"]
    if judged["volumes"]:
        training, held_out = entries, open_entries(judged["volumes"])
        check_labelled(held_out, "eval.volumes")
    else:
        training, held_out = hold_out(
            entries,
            judged["held_out"],
            judged["margin"],
            window,
            judged["held_out_axis"],
            data["pad"],
        )
    return limit_labels(training, data["label_fraction"], data["label_sections"]), held_out
