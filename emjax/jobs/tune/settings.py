"""What the job `tune` tries, and by what it judges: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import nearest, pick
from emjax.errors import InputError
from emjax.volume_config import VolumeSettings

# Metric -> whether more of it is better.
METRICS = {
    "voi": False,
    "arand": False,
    "cremi_score": False,
    "ap_50": True,
    "ap_75": True,
    "foreground_iou": True,
    "dice": True,
    "class_mean_iou": True,
    "class_mean_dice": True,
}
# Of a method of classes, which makes no objects, and the only ones that it has.
CLASS_METRICS = ("class_mean_iou", "class_mean_dice", "foreground_iou", "dice")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/tune.py`, which says what each is; `shared` are those of all jobs on volumes."""

    shared: VolumeSettings
    input: str
    labels: str
    method: str
    grid: str
    metric: str
    background_ids: tuple[int, ...]
    ignore_ids: tuple[int, ...]
    cremi_border_nm: float
    of: str
    resample: bool
    channels: str

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/tune.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config, shared=VolumeSettings.from_config(config, "input", "labels"))
        settings._check()
        return settings

    def _check(self) -> None:
        """Checks the fields that are this job's own."""
        if self.shared.cluster:
            raise InputError(
                f"cluster={self.shared.cluster}: settings are tried in this process, on a part of a volume; leave it "
                "out"
            )
        if self.metric not in METRICS:
            raise InputError(f"metric='{self.metric}' is unknown{nearest(self.metric, METRICS)}")
