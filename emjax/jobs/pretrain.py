"""The job `pretrain`: from unlabelled volumes to a checkpoint and the figures that tell whether it learnt."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from emjax.augment.recipes import window_size
from emjax.config import plain, validate
from emjax.data.heldout import hold_out
from emjax.data.loader import Batches
from emjax.data.normalization import RULE
from emjax.data.opening import OpenedEntry, open_entries
from emjax.data.source import Crops
from emjax.jobs.pretrain_report import closing_lines, draw_crops, write_plots
from emjax.parallel import runtime
from emjax.parallel.compile import jit
from emjax.parallel.mesh import check_batch_size, make_mesh, replicated
from emjax.tasks.build import build_pretrain
from emjax.tasks.membrane_probe import MembraneProbe
from emjax.tasks.pretrain import Pretrain
from emjax.tasks.pretrain_evaluation import EvaluationSettings, PretrainEvaluation, check_settings
from emjax.train.interrupt import PREEMPTED
from emjax.train.loop import Evaluation, fit
from emjax.train.optimizer import make_optimizer
from emjax.train.run_folder import check_space, open_run_folder, write_results
from emjax.train.run_spec import RunSpec
from emjax.train.state import abstract_state, state_bytes

HELD_OUT_SEED = 2**32


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
    values = plain(config)
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
    folder = open_run_folder(workdir, config)
    _check_disk(task, config, folder, mesh)
    training, batches, windows = open_data(values, window_size(task.crop_size, task.recipe))

    runtime.use_compilation_cache()
    with jax.set_mesh(mesh):
        chunk = math.gcd(len(windows), config.data.batch_size)
        evaluation = PretrainEvaluation(task, windows, judged, mesh=mesh, chunk=chunk)
        measures = [evaluation]
        if config.eval.probe_train or config.eval.probe_test:
            measures.append(MembraneProbe(task, values["eval"], mesh=mesh))
        # The network before its first step, from the same seed: what it scores, training did not add.
        untrained = jit(task.init, out_shardings=replicated(mesh))(jax.random.key(config.seed))
        references: dict[str, float] = {}
        for measure in measures:
            scores = {f"{name}_untrained": value for name, value in measure(untrained).items()}
            references |= scores | measure.baselines()
        del untrained

    def evaluator(params: Any, step: int) -> Evaluation:
        scores: dict[str, float] = {}
        for measure in measures:
            scores |= measure(params)
        logging.info(
            "step %d: retrieval top-1 %.3f (untrained %.3f, raw pixels %.3f)",
            step,
            scores["retrieval_top1"],
            references["retrieval_top1_untrained"],
            references["retrieval_top1_raw"],
        )
        crops = evaluation.show(params)
        return Evaluation(scores, {"crops": draw_crops(crops)} if crops else {})

    spec = RunSpec(
        job=config.job,
        config=values,
        voxel_nm=_common_voxel_nm(values, training),
        normalization=RULE,
        footprint=task.backbone.footprint._asdict(),
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
            layers=task.backbone.layers,
        )
    finally:
        batches.close()
    if result.preempted:
        logging.info("interrupted after step %d, saved; the same command continues", result.steps)
        return PREEMPTED

    results = result.results() | result.evaluation | references
    for number, entry in enumerate(training):
        results[f"normalization_low_volume{number}"] = entry.normalization.low
        results[f"normalization_high_volume{number}"] = entry.normalization.high
    with jax.set_mesh(mesh):
        crops = evaluation.show(result.params)
    if runtime.is_main():
        plots = write_plots(Path(os.fspath(folder)), crops, references)
        write_results(folder, results)
        print(closing_lines(Path(os.fspath(folder)), results, plots), flush=True)
    return 0


def open_data(
    values: Mapping[str, Any], window: tuple[int, int, int]
) -> tuple[list[OpenedEntry], Batches, np.ndarray]:
    """Opens the volumes of a configuration, and sets a part of them aside.

    Args:
        values: the configuration as plain dicts.
        window: (z, y, x) voxels that the views are cut from.

    Returns:
        The training volumes, this process's batches of them, and the held-out windows `[eval.crops, *window]` uint8.

    Raises:
        InputError: if a volume cannot be used.
    """
    data, judged = values["data"], values["eval"]
    entries = open_entries(data["volumes"], exclude=data["exclude"])
    if judged["volumes"]:
        training, held_out = entries, open_entries(judged["volumes"])
    else:
        training, held_out = hold_out(entries, judged["held_out"], judged["margin"], window)

    def crops(of: list[OpenedEntry], seed: int) -> Crops:
        return Crops(
            of,
            window,
            seed=seed,
            voxel_nm=data["voxel_nm"],
            probabilities=data["probabilities"],
            pad=data["pad"],
            max_blank_tries=data["max_blank_tries"],
        )

    batches = Batches(
        crops(training, values["seed"]),
        data["batch_size"],
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=data["num_threads"],
        prefetch_batches=data["prefetch_batches"],
    )
    # Another seed than any run's: the same crops judge every run.
    windows = crops(held_out, HELD_OUT_SEED).stack(range(judged["crops"]))["image"]
    return training, batches, windows


def _check_disk(task: Pretrain, config: ConfigDict, folder: epath.Path, mesh: Mesh) -> None:
    """Checks the space for checkpoints before the evaluation is compiled, not only when the loop begins."""
    optimizer, _ = make_optimizer(config.optimizer, config.num_steps, task.backbone.layers)
    ema = config.optimizer.ema_decay > 0
    abstract = abstract_state(task, optimizer, seed=config.seed, ema=ema, mesh=mesh)
    check_space(folder, state_bytes(abstract), config.save.keep)


def _common_voxel_nm(values: Mapping[str, Any], entries: list[OpenedEntry]) -> tuple[float, ...]:
    """The voxel size that all crops have, empty where it is mixed or unknown."""
    if values["data"]["voxel_nm"]:
        return tuple(values["data"]["voxel_nm"])
    sizes = {entry.image.voxel_nm for entry in entries}
    only = sizes.pop()
    return () if sizes or only is None else only
