"""The record of a run: `metrics.jsonl`, TensorBoard files, and the figures made of them.

`metrics.jsonl` is the record that counts. It has one line for each logged interval, with the loss
of every step, and one for each evaluation. When a run goes on from a checkpoint, lines of later
steps are cut off, so that the record is that of a run that was never stopped.
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

METRICS_FILE = "metrics.jsonl"
# Part of the steps that the first and the last loss are means over.
END_FRACTION = 0.05


class MetricsLog:
    """Writes and remembers the metrics of a run."""

    def __init__(self, folder: epath.Path, restored_step: int, *, shown: bool) -> None:
        """Takes up the record of a run.

        Args:
            folder: run folder.
            restored_step: step that the run goes on from; what was logged after it is dropped.
            shown: whether this process writes; the others only remember.
        """
        self._path = folder / METRICS_FILE
        self._shown = shown
        # Object stores cannot append, so there the file is written anew each time.
        self._append = "://" not in str(folder)
        self._lines = [line for line in _read_lines(self._path) if line["step"] <= restored_step]
        self.losses: dict[int, float | None] = {}
        self.voxels_per_s: float | None = None
        self.evaluations: dict[int, dict[str, float]] = {}
        for line in self._lines:
            self._remember(line)
        self._writer: Any = None
        if shown:
            self._rewrite()
            self._writer = _tensorboard(folder / "tensorboard", restored_step + 1)

    def log_steps(
        self, last_step: int, steps: Sequence[Mapping[str, float]], timing: Mapping[str, float]
    ) -> dict[str, float]:
        """Records a run of consecutive steps.

        Args:
            last_step: number of the last of them, counted from 1.
            steps: metrics of each step, `loss` among them.
            timing: figures of the interval as a whole.

        Returns:
            The means over the interval, of finite values.
        """
        means = {name: _mean([step[name] for step in steps]) for name in steps[0]}
        train = {name: value for name, value in means.items() if value is not None}
        # A rate or a counter is a state, not something to average.
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
            step: steps done.
            scalars: metric -> value; values that are not finite are left out of the record.
            images: name -> `[h, w, 3]` uint8, for TensorBoard.
        """
        finite = {name: float(v) for name, v in scalars.items() if math.isfinite(v)}
        self._write({"step": step, "eval": finite})
        self._scalars("eval", finite, step)
        if self._writer is not None:
            for name, image in images.items():
                self._writer.add_image(f"eval/{name}", image, step, dataformats="HWC")
            self._writer.flush()

    def loss_ends(self) -> tuple[float | None, float | None]:
        """Returns the mean losses over the first and last 5 % of the steps, at least one each."""
        steps = sorted(self.losses)
        count = max(1, round(len(steps) * END_FRACTION))
        first = _mean([self.losses[step] for step in steps[:count]])
        last = _mean([self.losses[step] for step in steps[-count:]])
        return first, last

    def skipped_steps(self) -> int:
        """Returns how many steps were left out because their loss was not finite."""
        return sum(loss is None for loss in self.losses.values())

    def best_step(self, metric: str, mode: str, steps: Sequence[int]) -> int | None:
        """Returns the evaluated step where a metric is best.

        Args:
            metric: name among the evaluations' scalars.
            mode: 'max' or 'min'.
            steps: those that come into question.
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
        """Writes out what TensorBoard still holds."""
        if self._writer is not None:
            self._writer.close()

    def _remember(self, line: Mapping[str, Any]) -> None:
        losses = line.get("losses", [])
        first = line["step"] - len(losses) + 1
        self.losses.update({first + i: loss for i, loss in enumerate(losses)})
        # What an earlier process measured is the answer for one that finds nothing left to do.
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

    def _rewrite(self) -> None:
        write_whole(self._path, "".join(json.dumps(line) + "\n" for line in self._lines).encode())
        if self._append:
            self._lines = []

    def _scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)


def _read_lines(path: epath.Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a record; the last may be half written after a crash."""
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
    # Here, not above: it takes a second to import.
    from tensorboardX import SummaryWriter

    try:
        return SummaryWriter(str(folder), purge_step=purge_step)
    # On object stores it needs packages that emjax does not ask for; metrics.jsonl has everything.
    except ImportError as error:
        logging.warning("no TensorBoard files in %s: %s", folder, error)
        return None


def _mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean of the finite values, None where there are none."""
    finite = [float(v) for v in values if v is not None and math.isfinite(v)]
    return sum(finite) / len(finite) if finite else None


def _short(value: float) -> float | None:
    """Returns the value with the digits that float32 has; JSON knows no NaN."""
    return float(f"{float(value):.7g}") if math.isfinite(value) else None
