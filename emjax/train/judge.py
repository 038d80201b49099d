"""What scores a network while it is trained, and says at the end what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from etils import epath

from emjax.tasks.task import Params


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        scalars: metric -> value, units in the names.
        images: name -> `[h, w, 3]` uint8.
    """

    scalars: Mapping[str, float]
    images: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Evaluator(Protocol):
    """Measures parameters; every process calls it, and gets the same scalars."""

    def __call__(self, params: Params, step: int) -> Evaluation:
        """Evaluates.

        Args:
            params: the moving average where there is one; global arrays that must not be kept.
            step: batches seen.
        """
        ...


class Judge(Evaluator, Protocol):
    """What a job scores its network by, on held-out crops that are always the same."""

    def references(self) -> Mapping[str, float]:
        """Returns what the scores compare with, such as an untrained network's; asked for when they are first needed.

        They stand in `results.json` beside the scores of the last evaluation, so names must differ from theirs.
        """
        ...

    def show(self, params: Params) -> Any:
        """Computes what the pictures of the finished run need; every process calls it."""
        ...

    def plot(self, folder: epath.Path, shown: Any) -> list[epath.Path]:
        """Writes pictures of the network's work and of the run's course; process 0 alone.

        Args:
            folder: run folder; see `emjax.train.pictures`.
            shown: as `show` returned it.

        Returns:
            Their paths.
        """
        ...

    def summarise(self, results: Mapping[str, float]) -> Sequence[str]:
        """Returns the lines on the scores that a user wants to read at the end; see `emjax.train.job.summary_line`."""
        ...
