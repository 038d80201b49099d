"""What the job `demo` trains and judges on: its configuration as values."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import check_triple, pick
from emjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/demo.py`, which says what each is."""

    volumes: str
    labelled: str
    validation: str
    test_image: str
    test_labels: str
    pretrain_steps: int
    finetune_steps: int
    crop_size: tuple[int, ...]
    network: str

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Returns the values of a configuration, as made by `configs/demo.py`.

        Raises:
            InputError: if a number of steps or a crop size cannot be used: later stages would be refused after hours.
        """
        settings = pick(cls, config)
        check_triple("crop_size", settings.crop_size, "voxels")
        for name in ("pretrain_steps", "finetune_steps"):
            if getattr(settings, name) < 1:
                raise InputError(f"{name}={getattr(settings, name)}: must be at least 1")
        return settings
