"""The judge of an arm: that of finetuning, which also keeps what the comparison of arms needs."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
from etils import epath

from emjax.jobs.finetune.judge import SegmentJudge
from emjax.runs.whole_file import open_whole

CROPS_FILE = "crops.npz"
_SUMS, _PIXEL = "sums/", "pixel_nm"
_SHOWN = ("image", "labels", "truth", "prediction")


class Crops(NamedTuple):
    """What an arm made of the held-out crops.

    Attributes:
        sums: `val_<metric>` -> `[n, ...]` sums of each crop; see `emjax.targets.metrics`.
        shown: `image`, `labels` `[k, y, x]`, `truth` and `prediction` `[k, y, x, targets]` of the first crops.
        pixel_nm: voxel size along x, nm; None if it is unknown or mixed.
    """

    sums: dict[str, np.ndarray]
    shown: dict[str, np.ndarray]
    pixel_nm: float | None = None


class ArmJudge(SegmentJudge):
    """Scores an arm as finetuning does, and writes the scores of each crop to the run folder."""

    def plot(self, folder: epath.Path, shown: list[dict[str, Any]]) -> list[epath.Path]:
        """Writes crops and curves, and `crops.npz`."""
        arrays = {f"{_SUMS}{name}": sums for name, sums in self.sums.items()}
        arrays |= {name: np.stack([crop[name] for crop in shown]) for name in _SHOWN}
        arrays[_PIXEL] = np.asarray(self.pixel_nm or 0.0)
        with open_whole(folder / CROPS_FILE) as file:
            np.savez(cast("Any", file), **cast("dict[str, Any]", arrays))
        return super().plot(folder, shown)


def read_crops(folder: epath.Path) -> Crops:
    """Reads what an `ArmJudge` wrote to a run folder."""
    with (folder / CROPS_FILE).open("rb") as file:
        arrays = dict(np.load(cast("Any", file), allow_pickle=False))
    sums = {n.removeprefix(_SUMS): a for n, a in arrays.items() if n.startswith(_SUMS)}
    # Runs of earlier versions do not say it.
    pixel_nm = float(arrays.get(_PIXEL, 0.0)) or None
    return Crops(sums, {name: arrays[name] for name in _SHOWN}, pixel_nm)
