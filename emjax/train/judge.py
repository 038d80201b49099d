"""The interface of judges, which score a network during training and report on it at the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from etils import epath

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
