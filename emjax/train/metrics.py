"""The record of a run's metrics: `metrics.jsonl`, TensorBoard files, and numbers computed from them.

`metrics.jsonl` is the authoritative record. It has one line for each logged interval, with the loss
of every step, and one for each evaluation. When a run continues from a checkpoint, lines of later
steps are removed, so that the record equals that of a run that was never stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from emjax.runs.whole_file import write_whole
from emjax.train.trackers import Trackers

METRICS_FILE = "metrics.jsonl"
# Share of the steps over which the first and the last loss are averaged.
END_FRACTION = 0.05


class MetricsLog:
    """Writes and remembers the metrics of a run.

    Attributes:
        losses: step -> loss; None where it was not finite.
        voxels_per_s: the last rate that was logged, or None.
        evaluations: step -> metric -> value.
    """

    def __init__(
        self,
        folder: epath.Path,
        restored_step: int,
        *,
        shown: bool,
        trackers: Trackers | None = None,
    ) -> None:
        """Opens the record of a run, and removes what was logged after `restored_step`.

        Args:
            folder: run folder.
            restored_step: step that the run continues from.
            shown: whether this process writes; other processes only remember.
            trackers: services that everything is sent to as well; closed with the record.
        """
        self._path = folder / METRICS_FILE
        self._shown = shown
        # Object stores cannot append, so the file is rewritten there each time.
        self._append = "://" not in str(folder)
        self._lines = [line for line in _read_lines(self._path) if line["step"] <= restored_step]
        self.losses: dict[int, float | None] = {}
        self.voxels_per_s: float | None = None
        self.evaluations: dict[int, dict[str, float]] = {}
        for line in self._lines:
            self._remember(line)
        self._writer: Any = None
        self._trackers = trackers
        if shown:
            self._rewrite()
            self._writer = _tensorboard(folder / "tensorboard", restored_step + 1)

    def log_steps(
        self, last_step: int, steps: Sequence[Mapping[str, float]], timing: Mapping[str, float]
    ) -> dict[str, float]:
        """Records an interval of consecutive steps.

        Args:
            last_step: number of the interval's last step, counted from 1.
            steps: metrics of each step, `loss` among them.
            timing: times and rates of the interval as a whole.

        Returns:
            Metric -> mean of its finite values over the interval.
        """
        means = {name: _mean([step[name] for step in steps]) for name in steps[0]}
        train = {name: value for name, value in means.items() if value is not None}
        # A rate and a counter are not averaged; their last value is logged.
        for name in ("learning_rate", "bad_steps"):
            if name in steps[-1]:
                train[name] = float(steps[-1][name])
        losses = [_short(step["loss"]) for step in steps]
        line = {"step": last_step, "train": train, "time": dict(timing), "losses": losses}
        self._write(line)
        self._scalars("train", train, last_step)
        self._scalars("time", timing, last_step)
        return train

    def log_evaluation(
        self, step: int, scalars: Mapping[str, float], images: Mapping[str, np.ndarray]
    ) -> None:
        """Records an evaluation.

        Args:
            step: number of steps done.
            scalars: metric -> value; values that are not finite are left out.
            images: name -> `[h, w, 3]` uint8, for TensorBoard.
        """
        finite = {name: float(v) for name, v in scalars.items() if math.isfinite(v)}
        if step in self.evaluations and self._shown:
            # A run that was killed after its last evaluation makes that one again.
            self._forget_evaluation(step)
        self._write({"step": step, "eval": finite})
        self._scalars("eval", finite, step)
        for name, image in images.items():
            if self._writer is not None:
                self._writer.add_image(f"eval/{name}", image, step, dataformats="HWC")
            if self._trackers is not None:
                self._trackers.image(f"eval/{name}", image, step)
        if self._writer is not None:
            self._writer.flush()

    def loss_ends(self) -> tuple[float | None, float | None]:
        """Returns the mean losses over the first and the last 5 % of the steps, at least one step each."""
        steps = sorted(self.losses)
        count = max(1, round(len(steps) * END_FRACTION))
        first = _mean([self.losses[step] for step in steps[:count]])
        last = _mean([self.losses[step] for step in steps[-count:]])
        return first, last

    def skipped_steps(self) -> int:
        """Returns how many steps were left out because their loss was not finite."""
        return sum(loss is None for loss in self.losses.values())

    def best_step(self, metric: str, mode: str, steps: Sequence[int]) -> int | None:
        """Returns the step at whose evaluation a metric was best; None if it was never evaluated.

        Args:
            metric: name of a scalar of the evaluations.
            mode: 'max' or 'min', whether greater or smaller is better.
            steps: steps to choose from.
        """
        scores = {
            step: self.evaluations[step][metric]
            for step in steps
            if metric in self.evaluations.get(step, {})
        }
        if not scores:
            return None
        return (max if mode == "max" else min)(scores, key=lambda step: scores[step])

    def close(self) -> None:
        """Writes out what is still to be written for TensorBoard and trackers, and closes them."""
        if self._writer is not None:
            self._writer.close()
        if self._trackers is not None:
            self._trackers.close()

    def _remember(self, line: Mapping[str, Any]) -> None:
        losses = line.get("losses", [])
        first = line["step"] - len(losses) + 1
        self.losses.update({first + i: loss for i, loss in enumerate(losses)})
        # Also remembers the rate that an earlier process measured, for a process with no steps left to do.
        self.voxels_per_s = line.get("time", {}).get("voxels_per_s", self.voxels_per_s)
        if "eval" in line:
            self.evaluations[line["step"]] = dict(line["eval"])

    def _write(self, line: dict[str, Any]) -> None:
        self._remember(line)
        if not self._shown:
            return
        if not self._append:
            self._lines.append(line)
            self._rewrite()
            return
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _forget_evaluation(self, step: int) -> None:
        """Removes the evaluation of a step from the record."""
        lines = _read_lines(self._path) if self._append else self._lines
        self._lines = [line for line in lines if not (line["step"] == step and "eval" in line)]
        self._rewrite()

    def _rewrite(self) -> None:
        write_whole(self._path, "".join(json.dumps(line) + "\n" for line in self._lines).encode())
        if self._append:
            self._lines = []

    def _scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._trackers is not None and values:
            self._trackers.scalars({f"{group}/{name}": v for name, v in values.items()}, step)
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)


def _read_lines(path: epath.Path) -> list[dict[str, Any]]:
    """Returns the lines of a record; skips broken ones, since a crash may leave the last one half written."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            logging.warning("%s: skipping a broken line", path)
    return lines


def _tensorboard(folder: epath.Path, purge_step: int) -> Any:
    """Opens TensorBoard files, hiding what an interrupted run wrote from `purge_step` on."""
    # Imported here, since importing it takes a second.
    from tensorboardX import SummaryWriter

    try:
        return SummaryWriter(str(folder), purge_step=purge_step)
    # For object stores it needs packages that emjax does not require; metrics.jsonl has everything.
    except ImportError as error:
        logging.warning("no TensorBoard files in %s: %s", folder, error)
        return None


def _mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean of the finite values; None if there are none."""
    finite = [float(v) for v in values if v is not None and math.isfinite(v)]
    return sum(finite) / len(finite) if finite else None


def _short(value: float) -> float | None:
    """Returns a value rounded to the digits of float32; None if it is not finite, which JSON cannot hold."""
    return float(f"{float(value):.7g}") if math.isfinite(value) else None
