"""The interface of judges, which score a network during training and report on it at the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from etils import epath

from emjax.config import nearest
from emjax.errors import InputError
from emjax.tasks.task import Params


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        scalars: metric -> value; names include the units.
        images: name -> `[h, w, 3]` uint8.
    """

    scalars: Mapping[str, float]
    images: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def check_best_metric(metric: str, known: Collection[str]) -> None:
    """Refuses a `save.best_metric` that is never found before the first step, instead of at an evaluation.

    Args:
        metric: name of the score that chooses the best checkpoint; '': none does.
        known: names of the scores that may be found.

    Raises:
        InputError: if it is not among them; names the nearest.
    """
    if metric and metric not in known:
        raise InputError(
            f"save.best_metric='{metric}' is no score of this run{nearest(metric, known)}"
        )


class Evaluator(Protocol):
    """Evaluates parameters; every process calls it, and gets the same scalars."""

    def __call__(self, params: Params, step: int) -> Evaluation:
        """Evaluates parameters.

        Args:
            params: the moving average if there is one, else the parameters; global arrays that must
                not be kept.
            step: number of batches seen.
        """
        ...


class Judge(Evaluator, Protocol):
    """Scores a job's network on held-out crops that are always the same."""

    def references(self) -> Mapping[str, float]:
        """Returns reference values that the scores compare with, such as an untrained network's scores.

        They are written to `results.json` beside the scores of the last evaluation, so their names must differ.
        """
        ...

    def show(self, params: Params) -> Any:
        """Computes what the pictures of the finished run need; every process calls it."""
        ...

    def plot(self, folder: epath.Path, shown: Any) -> list[epath.Path]:
        """Writes pictures of the network's output and of the run's curves; only process 0 calls it.

        Args:
            folder: run folder; see `emjax.train.pictures`.
            shown: what `show` returned.

        Returns:
            Paths of the pictures.
        """
        ...

    def summarise(self, results: Mapping[str, float]) -> Sequence[str]:
        """Returns the lines on the scores that are printed at the end; see `emjax.train.job.summary_line`."""
        ...
