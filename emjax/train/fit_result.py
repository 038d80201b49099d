"""What a training run came to."""

from __future__ import annotations

import dataclasses

from emjax.tasks.task import Params


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
