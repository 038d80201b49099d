"""What the job `demo` trains and judges on: its configuration as values."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import pick


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
        """Returns the values of a configuration, as made by `configs/demo.py`."""
        return pick(cls, config)
