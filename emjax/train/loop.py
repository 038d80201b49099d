"""The training loop of every training job.

The initial state comes from the first of these that applies:
1. the latest readable checkpoint of the run folder (the same command again);
2. `init_from`: the weights of another run;
3. the task's own initialization.
"""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath
from jax.sharding import Mesh

from emjax.config import flatten
from emjax.errors import InputError
from emjax.logs import heartbeat
from emjax.parallel import runtime
from emjax.parallel.compiled_programs import use_compilation_cache
from emjax.parallel.mesh import batch_sharding, check_batch_size
from emjax.parallel.sharding import describe_copies
from emjax.runs.disk import full_disk_explained
from emjax.runs.folder import check_space
from emjax.runs.spec import RunSpec
from emjax.signals import finished_first
from emjax.tasks.task import Task
from emjax.train import statistics
from emjax.train.batch_source import BatchSource
from emjax.train.checkpoint import Checkpoints
from emjax.train.clock import Clock
from emjax.train.device import peak_flops, peak_memory
from emjax.train.fit_result import FitResult
from emjax.train.flops import training_flops
from emjax.train.interrupt import Interrupt
from emjax.train.judge import Evaluator
from emjax.train.metrics import MetricsLog
from emjax.train.optimizer import make_optimizer
from emjax.train.parameter_table import log_parameters
from emjax.train.profile import Profile
from emjax.train.progress import Progress
from emjax.train.rates import Layers, rate_multipliers
from emjax.train.settings import TrainSettings
from emjax.train.state import TrainState, abstract_state, create_state, state_bytes, with_params
from emjax.train.step import TrainStep, compile_step, make_step
from emjax.train.trackers import Trackers
from emjax.train.transfer import start_from
from emjax.train.weights import restore_params

# Most steps whose results the host has not waited for: enough to keep a device busy, few enough
# that batches and metrics do not pile up on it.
MAX_STEPS_IN_FLIGHT = 2
# Arrays of a batch that say where its crops came from, for the message on steps that are not
# finite.
_ORIGIN = ("index", "volume", "start")


def fit(
    task: Task,
    batches: BatchSource,
    settings: TrainSettings,
    folder: epath.Path,
    *,
    mesh: Mesh,
    run_spec: RunSpec,
    evaluator: Evaluator | None = None,
    layers: Layers = (),
) -> FitResult:
    """Trains until `settings.num_steps` batches are seen, continuing from what the run folder holds.

    Args:
        task: the task that is learnt.
        batches: the loader, at its beginning.
        settings: settings of the run.
        folder: run folder as opened by `emjax.train.run_folder`.
        mesh: mesh as made by `make_mesh`.
        run_spec: description that is saved with each checkpoint.
        evaluator: called every `settings.eval_every_steps` steps and at the end.
        layers: layers of the backbone, for `optimizer.layer_decay`.

    Returns:
        The result of the run.

    Raises:
        InputError: if disk, batch size, checkpoints or `init_from` cannot be used, before anything
            is compiled; if `settings.max_bad_steps` steps in a row were not finite (names the
            crops).
        OSError: if the disk is full.
    """
    use_compilation_cache()
    check_batch_size(settings.data.batch_size, mesh)
    optimizer, schedule = make_optimizer(settings.optimizer, settings.num_steps, layers)
    ema = settings.uses_ema
    abstract = abstract_state(task, optimizer, seed=settings.seed, ema=ema, mesh=mesh)
    # Called only for its errors, which the step would raise only when it is compiled.
    rate_multipliers(
        abstract.params, layers, settings.optimizer.layer_decay, settings.optimizer.freeze
    )
    check_space(folder, state_bytes(abstract), settings.save.keep)
    checkpoints = Checkpoints(folder, keep=settings.save.keep, ema=ema)
    with full_disk_explained(folder), finished_first(checkpoints.wait):
        run = None
        try:
            restored = checkpoints.restore_latest(abstract)
            if restored is not None:
                state, position = restored
                batches.set_state(position)
            else:
                state = create_state(task, optimizer, seed=settings.seed, abstract=abstract)
                if settings.init_from:
                    weights = restore_params(settings.init_from)
                    state = with_params(state, start_from(state.params, weights, settings.job))

            def step_of(task: Task) -> TrainStep:
                return make_step(
                    task,
                    optimizer,
                    schedule,
                    accumulate_steps=settings.optimizer.accumulate_steps,
                    ema_decay=settings.optimizer.ema_decay,
                )

            following = None
            if statistics.has_fixed(task):
                following = step_of(statistics.learning(task))
            run = _Run(
                task, batches, settings, folder, mesh, run_spec, evaluator, checkpoints, state
            )
            return run.train(step_of(task), following)
        finally:
            # Also on an error, so that saves in the background are finished and files are complete.
            try:
                checkpoints.close()
            finally:
                if run is not None:
                    run.close()


class _Run:
    """The state of one call of `fit`: the parts of the loop and its variables."""

    def __init__(
        self,
        task: Task,
        batches: BatchSource,
        settings: TrainSettings,
        folder: epath.Path,
        mesh: Mesh,
        spec: RunSpec,
        evaluator: Evaluator | None,
        checkpoints: Checkpoints,
        state: TrainState,
    ) -> None:
        self._task = task
        self._batches = batches
        self._settings = settings
        self._mesh = mesh
        self._spec = spec
        self._evaluator = evaluator
        self._checkpoints = checkpoints
        self._state = state
        self._step = int(state.step)
        self._pending: collections.deque[dict[str, jax.Array]] = collections.deque()
        self._origins: collections.deque[dict[str, np.ndarray]] = collections.deque()
        self._evaluation: dict[str, float] = {}
        main = runtime.is_main()
        trackers = None
        if main and settings.log_to:
            fields = flatten(spec.config)
            trackers = Trackers(settings.log_to, settings.log_project, folder, fields)
        self._log = MetricsLog(folder, self._step, shown=main, trackers=trackers)
        self._progress = Progress(settings.num_steps, shown=main)
        self._profile = Profile(folder, settings.profile_steps if main else "")
        self._clock = Clock()
        # Seconds that the FLOPs of a step would take on all devices at their peak; None if that is unknown.
        self._peak_seconds: float | None = None

    def train(self, step: TrainStep, following: TrainStep | None = None) -> FitResult:
        """Runs the remaining steps, and returns the result of the run.

        Args:
            step: the step.
            following: taken in its place until the statistics of normalization are fixed: the step that follows them;
                None if there are none.
        """
        settings = self._settings
        preempted = False
        with jax.set_mesh(self._mesh):
            self._catch_up()
            if self._step < settings.num_steps:
                log_parameters(self._state.params)
                copies = describe_copies(self._state.params)
                if copies:
                    logging.warning("%s", copies)
                batch = self._next_batch()
                with Interrupt() as interrupt:
                    if following and self._step < settings.fixed_at:
                        compiled = self._compile(following, batch)
                        batch = self._steps(compiled, batch, interrupt, settings.fixed_at)
                    if batch is not None and self._step < settings.num_steps:
                        compiled = self._compile(step, batch)
                        batch = self._steps(compiled, batch, interrupt, settings.num_steps)
                preempted = batch is None
            if not preempted:
                self._evaluate()
        self._checkpoints.wait()
        first, last = self._log.loss_ends()
        return FitResult(
            steps=self._step,
            loss_first=first,
            loss_last=last,
            voxels_per_s=self._log.voxels_per_s,
            skipped_steps=self._log.skipped_steps(),
            params=self._state.best_params,
            evaluation=self._evaluation,
            preempted=preempted,
        )

    def close(self) -> None:
        """Closes the files and the progress bar."""
        self._profile.stop()
        self._progress.close()
        self._log.close()

    def _catch_up(self) -> None:
        """Does what an interruption prevented: finds the best checkpoint, evaluates the present step."""
        settings = self._settings
        if settings.save.best_metric:
            self._update_best()
        due = 0 < self._step < settings.num_steps and self._step % settings.eval_every_steps == 0
        if due and not runtime.agree(int(self._step in self._log.evaluations)):
            self._evaluate()

    def _steps(
        self, compiled: Any, batch: dict[str, jax.Array], interrupt: Interrupt, until: int
    ) -> dict[str, jax.Array] | None:
        """Takes steps until this number or an interruption; returns the next batch, or None if it was interrupted."""
        settings = self._settings
        self._clock.start()
        self._progress.begin(self._step)
        while True:
            self._profile.before_step(self._step, self._state)
            with self._clock.device(), self._profile.step(self._step):
                self._state, metrics = compiled(self._state, batch)
                self._step += 1
                self._pending.append(metrics)
                if len(self._pending) > MAX_STEPS_IN_FLIGHT:
                    self._pending[-1 - MAX_STEPS_IN_FLIGHT]["loss"].block_until_ready()
            done = self._step == settings.num_steps
            stop = interrupt.reached(self._step) and not done
            saves = self._step % settings.save.every_steps == 0 or done or stop
            evaluates = self._step % settings.eval_every_steps == 0 and not done and not stop
            # Also before every save, so that the record of metrics can be cut off exactly there.
            if self._step % settings.log_every_steps == 0 or saves or evaluates:
                self._flush()
            if saves:
                self._save()
            if stop:
                return None
            if done:
                return batch
            if evaluates:
                self._evaluate()
            batch = self._next_batch()
            if self._step == until:
                return batch

    def _compile(self, step: TrainStep, batch: dict[str, jax.Array]) -> Any:
        began = time.monotonic()
        logging.info("compiling the step: seconds for small networks, minutes for large ones")
        with heartbeat("still compiling"):
            compiled = compile_step(step, self._state, batch, self._mesh)
        memory = compiled.memory_analysis()
        # Some backends do not report it.
        if memory is not None:
            logging.info(
                "compiled in %.1f s; on each device %.3g GiB of arguments and %.3g GiB of scratch",
                time.monotonic() - began,
                memory.argument_size_in_bytes / 2**30,
                memory.temp_size_in_bytes / 2**30,
            )
        peaks = [peak_flops(device) for device in self._mesh.devices.flat]
        if None not in peaks:
            flops = training_flops(self._task.loss, self._state.params, batch, self._state.rng)
            logging.info(
                "%.4g TFLOP a step, %.4g for each device", flops / 1e12, flops / 1e12 / len(peaks)
            )
            self._peak_seconds = flops / sum(filter(None, peaks))
        return compiled

    def _next_batch(self) -> dict[str, jax.Array]:
        """Reads this process's rows and joins them with those of other processes to a global batch."""
        with self._clock.data():
            rows = next(self._batches)
        self._origins.append({name: rows[name] for name in _ORIGIN if name in rows})
        sharding = batch_sharding(self._mesh)
        return {
            name: jax.make_array_from_process_local_data(sharding, np.asarray(value))
            for name, value in rows.items()
        }

    def _flush(self) -> None:
        """Waits for the steps so far and records them; raises InputError after too many bad steps in a row."""
        if not self._pending:
            return
        with self._clock.device():
            steps = jax.device_get(list(self._pending))
        timing = self._timing(len(steps))
        means = self._log.log_steps(self._step, steps, timing)
        self._progress.update(self._step, means.get("loss"), timing["voxels_per_s"])
        self._check_finite(steps)
        self._pending.clear()
        self._origins.clear()

    def _check_finite(self, steps: list[dict[str, Any]]) -> None:
        """Warns of steps that were not finite; raises InputError after too many of them in a row."""
        worst = max(range(len(steps)), key=lambda i: steps[i]["bad_steps"])
        count = int(steps[worst]["bad_steps"])
        if not count:
            return
        origins = list(self._origins)[-len(steps) :]
        crops = _name_crops(origins[worst], self._spec.volumes)
        last = self._step - len(steps) + worst + 1
        if count < self._settings.max_bad_steps:
            logging.warning("step %d was not finite, and is left out; its crops: %s", last, crops)
            return
        raise InputError(
            f"loss or gradient was not finite in {count} steps in a row, up to step {last} "
            f"(loss {float(steps[worst]['loss'])}); its crops: {crops}; the last checkpoint is "
            "good: look at these crops, or lower optimizer.learning_rate"
        )

    def _save(self) -> None:
        self._checkpoints.save(self._step, self._state, self._batches.get_state(), self._spec)
        self._clock.start()

    def _evaluate(self) -> None:
        """Evaluates the present parameters; saves them if the chosen metric improved."""
        if self._evaluator is None:
            return
        found = self._evaluator(self._state.best_params, self._step)
        self._evaluation = {name: float(value) for name, value in found.scalars.items()}
        self._log.log_evaluation(self._step, self._evaluation, found.images)
        self._clock.start()
        metric = self._settings.save.best_metric
        if not metric:
            return
        if metric not in self._evaluation:
            known = ", ".join(sorted(self._evaluation)) or "nothing"
            logging.warning(
                "save.best_metric=%s has no value at step %d, which cannot be the best then; measured was %s",
                *(metric, self._step, known),
            )
        elif self._update_best() == self._step:
            self._save()

    def _update_best(self) -> int:
        """Marks and returns the best step among the checkpoints and the present step; 0 if none was evaluated."""
        metric, mode = self._settings.save.best_metric, self._settings.save.best_mode
        steps = {*self._checkpoints.steps, self._step}
        # Process 0 decides for all, since rounding could otherwise make one process save alone.
        best = runtime.agree(self._log.best_step(metric, mode, sorted(steps)) or 0)
        value = self._log.evaluations[best][metric] if best in self._log.evaluations else None
        self._checkpoints.mark_best(best or None, metric, value)
        return best

    def _timing(self, count: int) -> dict[str, float]:
        """Returns times of the last steps, rates of the run, the loader's queue, and the use of device memory."""
        timing = self._clock.lap(count)
        per_second = self._clock.steps / self._clock.seconds
        examples = self._settings.data.batch_size * per_second
        timing |= {
            "examples_per_s": examples,
            "voxels_per_s": examples * math.prod(self._settings.data.crop_size),
            "loader_queue": self._batches.queued(),
        }
        if self._peak_seconds is not None:
            timing["mfu"] = self._peak_seconds * per_second
        memory = peak_memory(jax.local_devices())
        if memory is not None:
            timing["device_memory_gib"] = memory / 2**30
        return timing


def _name_crops(origin: Mapping[str, np.ndarray], volumes: tuple[str, ...]) -> str:
    """Returns a text that says where the crops of a batch were cut."""
    if "volume" not in origin or "start" not in origin:
        return "unknown"
    crops = []
    for volume, start in zip(origin["volume"].tolist(), origin["start"].tolist(), strict=True):
        name = volumes[volume] if volume < len(volumes) else f"volume {volume}"
        crops.append(f"{name} at {tuple(start)}")
    return "; ".join(crops)
