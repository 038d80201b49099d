"""Runs a training job: the steps that all training jobs share, and what each job has to provide.

A new training job consists of its task, its config, and a module like

    ON_DEVICES = True
    JOB = TrainingJob(build_task=build_distill, make_judge=DistillJudge)

    def run(config, workdir):
        return run_training(JOB, config, workdir)
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
from absl import logging
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from emjax.config import plain, told_fields, validate
from emjax.data.heldout import hold_out, limit_labels
from emjax.data.labelled import check_images_alone, check_labelled, check_names, find_objects
from emjax.data.leakage import Scored, check_apart
from emjax.data.normalization import RULE
from emjax.data.opening import OpenedEntry, open_entries
from emjax.data.source import Crops
from emjax.geometry.sizes import Size
from emjax.parallel import runtime
from emjax.parallel.compiled_programs import use_compilation_cache
from emjax.parallel.mesh import check_batch_size, make_mesh
from emjax.runs.exit_status import DONE, PREEMPTED
from emjax.runs.folder import (
    RESULTS_FILE,
    check_space,
    is_finished,
    locate_run_folder,
    write_results,
)
from emjax.runs.spec import RunSpec
from emjax.tasks.task import CropTask, Params
from emjax.train.held_out import HeldOut
from emjax.train.inherited import Start, complete, continued
from emjax.train.judge import Judge, check_best_metric
from emjax.train.loop import fit
from emjax.train.preparation import (
    common_voxel_nm,
    make_batches,
    make_crops,
    pooled_voxel_nm,
    shapes_of_state,
)
from emjax.train.run_folder import open_training_folder, read_begun
from emjax.train.settings import TrainSettings
from emjax.train.state import state_bytes
from emjax.train.trackers import check_trackers
from emjax.train.transfer import check_start
from emjax.volumes.address import parse_volumes
from emjax.volumes.store import open_volume

Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """What a training job provides.

    Attributes:
        build_task: makes the task from the complete configuration as plain dicts; raises InputError on invalid values.
        make_judge: makes the judge. None: nothing is held out or scored, and `results.json` has only the losses.
        labelled: whether every volume must have labels, and initial weights must be of the volumes' voxel size.
        scored_on: returns configuration field -> addresses of further volumes that scores come from, which must not be
            trained on.
        read_options: returns further options of `emjax.data.source.Crops`, from the configuration and the task.
        remember: returns what prediction has to know of the task besides the configuration, see `RunSpec.task`.
        what_next: flags of the command that usually follows this job, with `{folder}` for the run folder; the command
            is printed at the end.
        score_names: returns the names of all scores that the judge may find, which `save.best_metric` must be among.
            None: any name is accepted, and a score that is never found is warned of.
        inherits: whether a run that starts from other weights takes over their network, see `emjax.train.inherited`.
    """

    build_task: Callable[[Values], CropTask]
    make_judge: Callable[[HeldOut], Judge] | None = None
    labelled: bool = False
    scored_on: Callable[[Values], Mapping[str, str]] = lambda values: {}
    read_options: Callable[[Values, Any], Mapping[str, Any]] = lambda values, task: {}
    remember: Callable[[Any], Mapping[str, Any]] = lambda task: {}
    what_next: str = ""
    score_names: Callable[[Values, Any], Collection[str]] | None = None
    inherits: bool = True


@dataclasses.dataclass(frozen=True)
class PreparedRun:
    """A training run before its first step.

    Attributes:
        job: the training job.
        settings: the part of the configuration that all training jobs share.
        task: the task that is learnt.
        mesh: device mesh.
        folder: run folder.
        training: the volumes that are trained on.
        crops: their crops.
        held_out: what the judge is made from.
        spec: description that is saved with checkpoints.
    """

    job: TrainingJob
    settings: TrainSettings
    task: Any
    mesh: Mesh
    folder: epath.Path
    training: Sequence[OpenedEntry]
    crops: Crops
    held_out: HeldOut
    spec: RunSpec

    def make_judge(self) -> Judge | None:
        """Makes the judge of the run; None if its job has none."""
        if not self.job.make_judge:
            return None
        with jax.set_mesh(self.mesh):
            return self.job.make_judge(self.held_out)


def run_training(job: TrainingJob, config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Trains as configured, and writes checkpoints, `results.json`, TensorBoard files and plots to `workdir`.

    Args:
        job: the training job.
        config: configuration made from `emjax.config.base_config`.
        workdir: run folder; an unfinished run of the same configuration in it is continued.

    Returns:
        Exit status: `DONE`, or `PREEMPTED` if interrupted after saving.

    Raises:
        InputError: if the configuration, the volumes, the weights or the folder cannot be used; raised before anything
            is compiled.
    """
    validate(config)
    check_trackers(config.log.to)
    if _is_finished(config, workdir):
        _say_finished(job, config, locate_run_folder(workdir))
        return DONE
    prepared = prepare_training(job, config, workdir)
    batches = make_batches(prepared.settings.data, prepared.crops)
    judge = prepared.make_judge()
    try:
        result = fit(
            prepared.task,
            batches,
            prepared.settings,
            prepared.folder,
            mesh=prepared.mesh,
            run_spec=prepared.spec,
            evaluator=judge,
            layers=prepared.task.backbone.layers,
        )
    finally:
        batches.close()
    if result.preempted:
        logging.info("interrupted after step %d, saved; the same command continues", result.steps)
        return PREEMPTED
    finish_training(prepared, result.results() | result.evaluation, judge, result.params)
    return DONE


def prepare_training(
    job: TrainingJob, config: ConfigDict, workdir: str | os.PathLike[str]
) -> PreparedRun:
    """Does what comes before the first step, except for anything that is compiled; see `run_training`.

    Raises:
        InputError: as `run_training`.
    """
    validate(config)
    settings = TrainSettings.from_config(config)
    entries = open_entries(settings.data.volumes, exclude=settings.data.exclude)
    if job.labelled:
        check_labelled(entries, "data.volumes")
    else:
        check_images_alone(entries, "data.volumes")
    voxel_nm = common_voxel_nm(plain(config), entries)
    begun = read_begun(workdir, config)
    if begun is not None:
        # What is continued keeps its network, whatever this version would choose.
        start = Start(continued(plain(config), begun))
    else:
        start = complete(
            plain(config),
            told_fields(config),
            voxel_nm,
            pooled_voxel_nm(plain(config), entries),
            labelled=job.labelled,
            inherits=job.inherits,
        )
    values = start.values
    settings = TrainSettings.from_config(values)
    task = job.build_task(values)
    if job.score_names or not job.make_judge:
        known = job.score_names(values, task) if job.score_names else ()
        check_best_metric(settings.save.best_metric, known)
    mesh = make_mesh(settings.mesh)
    check_batch_size(settings.data.batch_size, mesh)
    training, held_out = _split(job, values, entries, task.window_size)
    options = job.read_options(values, task)
    if job.labelled:
        names = options.get("label_names", ("",))
        check_names(training, names, "data.volumes")
        check_names(held_out, names, "eval.volumes", every=False)
    halo = task.backbone.footprint.halo
    scored = _scored(job, values, held_out)
    check_apart(training, scored, halo, allow=settings.data.allow_overlap)
    shapes = shapes_of_state(task, settings, mesh, task.backbone.layers)
    if start.weights is not None:
        check_start(shapes.params, start.weights, settings.job, start.conflicts)
    folder = open_training_folder(workdir, config)
    check_space(folder, state_bytes(shapes), settings.save.keep)
    crops = make_crops(settings.data, training, task.window_size, seed=settings.seed, **options)
    use_compilation_cache()
    spec = RunSpec(
        job=settings.job,
        config=values,
        voxel_nm=voxel_nm,
        normalization=RULE,
        volumes=tuple(entry.image.name for entry in training),
        task=job.remember(task),
    )
    given = HeldOut(values, settings, task, mesh, held_out, options)
    return PreparedRun(job, settings, task, mesh, folder, training, crops, given, spec)


def _is_finished(config: ConfigDict, workdir: str | os.PathLike[str]) -> bool:
    """Whether there is nothing to do; process 0 looks for all."""
    if config.get("overwrite", False):
        return False
    found = runtime.is_main() and is_finished(locate_run_folder(workdir), config)
    return bool(runtime.agree(int(found)))


def _say_finished(job: TrainingJob, config: ConfigDict, folder: epath.Path) -> None:
    if not runtime.is_main():
        return
    lines = [
        f"finished     all {config.num_steps} steps were taken before; --config.overwrite=true begins anew",
        f"checkpoints  {folder / 'checkpoints'}",
        f"results      {folder / RESULTS_FILE}",
    ]
    if job.what_next:
        lines.append(f"next         python -m emjax.main {job.what_next.format(folder=folder)}")
    print("\n".join(lines), flush=True)


def finish_training(
    prepared: PreparedRun, results: Mapping[str, Any], judge: Judge | None, params: Params
) -> None:
    """Writes `results.json` and the pictures of a run, and prints the scores; every process calls it.

    Args:
        prepared: the run.
        results: losses and scores.
        judge: of the run.
        params: trained parameters.
    """
    found = dict(results)
    if judge is not None:
        found |= judge.references()
    for number, entry in enumerate(prepared.training):
        found[f"normalization_low_volume{number}"] = entry.normalization.low
        found[f"normalization_high_volume{number}"] = entry.normalization.high
    _report(prepared.job, prepared.folder, found, judge, params, prepared.mesh)


def summary_line(title: str, results: Mapping[str, float], name: str, form: str) -> str:
    """Returns one line of the summary: a score, and the reference values that it compares with.

    Args:
        title: title of the line.
        results: results as in `results.json`; references such as `NAME_untrained` are shown if they are among them.
        name: name of the score.
        form: format of the numbers, such as '.3f'.
    """
    parts = [f"{title:<28}{results[name]:>9{form}}"]
    for suffix in ("untrained", "raw", "position", "same_place", "chance"):
        if f"{name}_{suffix}" in results:
            what = {"raw": "raw pixels", "position": "position alone"}.get(suffix, suffix)
            parts.append(f"{what.replace('_', ' ')} {results[f'{name}_{suffix}']:{form}}")
    return "   ".join(parts)


def _split(
    job: TrainingJob, values: Values, entries: list[OpenedEntry], window: Size
) -> tuple[list[OpenedEntry], list[OpenedEntry]]:
    """Returns the volumes to train on, limited to the labels that may be used, and those that are held out."""
    data, judged = values["data"], values["eval"]
    training, held_out = entries, list[OpenedEntry]()
    if job.make_judge and judged["volumes"]:
        held_out = open_entries(judged["volumes"])
        if job.labelled:
            check_labelled(held_out, "eval.volumes")
        else:
            check_images_alone(held_out, "eval.volumes")
    elif job.make_judge:
        training, held_out = hold_out(
            entries,
            judged["held_out"],
            judged["margin"],
            window,
            judged.get("held_out_axis", ""),
            data["pad"],
        )
    if job.labelled:
        training = limit_labels(training, data["label_fraction"], data.get("label_sections", 0))
        find_objects(training)
    return training, held_out


def _scored(
    job: TrainingJob, values: Values, held_out: Sequence[OpenedEntry]
) -> dict[str, list[Scored]]:
    """Returns configuration field -> volumes that scores come from."""
    field = "eval.volumes" if values["eval"].get("volumes") else "eval.held_out"
    scored = {field: [Scored(entry.image, entry.any_labels) for entry in held_out]}
    for name, text in job.scored_on(values).items():
        scored[name] = [
            Scored(open_volume(e.image), open_volume(e.labels) if e.labels else None)
            for e in parse_volumes(text)
        ]
    return scored


def _report(
    job: TrainingJob,
    folder: epath.Path,
    results: Mapping[str, Any],
    judge: Judge | None,
    params: Params,
    mesh: Mesh,
) -> None:
    """Writes results and pictures, and prints the scores, where the files are, and the next command."""
    shown = None
    if judge is not None:
        # On every process, since the processes compute together.
        with jax.set_mesh(mesh):
            shown = judge.show(params)
    if not runtime.is_main():
        return
    lines = [
        f"{'loss, first and last 5 %':<28}{results['loss_first']:>9.3f}   {results['loss_last']:.3f}"
    ]
    pictures = []
    if judge is not None:
        pictures = judge.plot(folder, shown)
        lines += judge.summarise(results)
    write_results(folder, results)
    lines += [f"checkpoints  {folder / 'checkpoints'}", f"results      {folder / 'results.json'}"]
    if pictures:
        lines.append(f"pictures     {', '.join(map(str, pictures))}")
    # No requirement of emjax, as plots/ and metrics.jsonl have the same curves.
    get = "" if importlib.util.find_spec("tensorboard") else "pip install tensorboard && "
    lines.append(f"curves       {get}tensorboard --logdir {folder / 'tensorboard'}")
    if job.what_next:
        lines.append(f"next         python -m emjax.main {job.what_next.format(folder=folder)}")
    print("\n".join(lines), flush=True)
