"""Settings of a training run as frozen dataclasses, which are read from the configuration once, when the job starts.

Each field is documented in `emjax.config.base_config`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from emjax.config import pick, plain
from emjax.geometry.sizes import Size


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """The group `optimizer` of the configuration."""

    name: str
    learning_rate: float
    final_learning_rate: float
    schedule: str
    warmup_fraction: float
    weight_decay: float
    betas: tuple[float, float]
    clip_norm: float
    accumulate_steps: int
    layer_decay: float
    freeze: str
    ema_decay: float
    fixed_statistics: float = 0.3


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """The fields of the group `data` that all training jobs have in common."""

    volumes: str | tuple[str, ...]
    batch_size: int
    crop_size: Size
    voxel_nm: tuple[float, ...]
    exclude: str
    allow_overlap: bool
    pad: str
    label_fraction: float
    probabilities: tuple[float, ...]
    max_blank_tries: int
    num_threads: int
    prefetch_batches: int


@dataclasses.dataclass(frozen=True)
class SaveSettings:
    """The group `save` of the configuration."""

    every_steps: int
    keep: int
    best_metric: str
    best_mode: str


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """The settings of a training run.

    Attributes:
        eval_every_steps: the field `eval.every_steps`.
        log_every_steps, log_to, log_project: the fields of the group `log`.
        mesh: axis of the mesh -> number of devices along it.
    """

    job: str
    seed: int
    num_steps: int
    init_from: str
    max_bad_steps: int
    profile_steps: str
    data: DataSettings
    optimizer: OptimizerSettings
    save: SaveSettings
    eval_every_steps: int
    log_every_steps: int
    log_to: str
    log_project: str
    mesh: Mapping[str, int]

    @classmethod
    def from_config(cls, config: ConfigDict | Mapping[str, Any]) -> TrainSettings:
        """Reads a configuration that passed `emjax.config.validate`; leaves out fields of the particular job."""
        values = plain(config)
        return pick(
            cls,
            values,
            data=pick(DataSettings, values["data"]),
            optimizer=pick(OptimizerSettings, values["optimizer"]),
            save=pick(SaveSettings, values["save"]),
            eval_every_steps=values["eval"]["every_steps"],
            log_every_steps=values["log"]["every_steps"],
            log_to=values["log"]["to"],
            log_project=values["log"]["project"],
        )

    @property
    def uses_ema(self) -> bool:
        """Whether a moving average of the weights is kept."""
        return self.optimizer.ema_decay > 0

    @property
    def fixed_at(self) -> int:
        """Number of steps after which the statistics of normalization are fixed."""
        return round(self.num_steps * (1 - self.optimizer.fixed_statistics))
