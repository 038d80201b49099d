"""The result of a training run."""

from __future__ import annotations

import dataclasses

from emjax.tasks.task import Params


@dataclasses.dataclass(frozen=True)
class FitResult:
    """The result of a training run.

    Attributes:
        steps: number of batches seen, including those before interruptions.
        loss_first: mean loss over the first 5 % of the steps, including those before
            interruptions.
        loss_last: mean loss over the last 5 % of the steps.
        voxels_per_s: voxels of crops trained on per second, not counting time for compiling,
            evaluating and saving; of the last process that took steps.
        skipped_steps: number of steps left out because they were not finite.
        params: the moving average of the weights if there is one, else the weights; global arrays.
        evaluation: scalars of the last evaluation.
        preempted: whether the run was interrupted after saving; the exit status is then
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
        """Returns the entries of `results.json` that all training jobs have, except unknown ones."""
        names = ("steps", "loss_first", "loss_last", "voxels_per_s", "skipped_steps")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}
