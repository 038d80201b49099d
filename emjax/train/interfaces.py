"""What the loop is given beside the task, and what it gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from emjax.tasks.protocol import Params


class Batches(Protocol):
    """The loader: an endless sequence of batches; its whole state is the next one's number."""

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns this process's rows of the next batch."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Returns the position, as JSON holds it; reading ahead does not move it."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a position."""
        ...

    def queued(self) -> float:
        """Returns how many batches are read and wait to be handed out."""
        ...


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


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What a training run came to.

    Attributes:
        steps: batches seen, in all.
        loss_first: mean loss over the first 5 % of the steps, however often the run was
            interrupted.
        loss_last: mean loss over the last 5 %.
        voxels_per_s: voxels of crops trained on a second by the last process that took steps,
            without compiling, evaluating and saving.
        skipped_steps: steps left out because they were not finite.
        params: the moving average where there is one; global arrays.
        evaluation: scalars of the last evaluation.
        preempted: whether the run was interrupted after saving: leave with
            `emjax.runs.exit_status.PREEMPTED`.
    """

    steps: int
    loss_first: float | None
    loss_last: float | None
    voxels_per_s: float | None
    skipped_steps: int
    params: Params
    evaluation: dict[str, float]
    preempted: bool

    def results(self) -> dict[str, float]:
        """Returns the entries of `results.json` that every training job has, if they are known."""
        names = ("steps", "loss_first", "loss_last", "voxels_per_s", "skipped_steps")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}
