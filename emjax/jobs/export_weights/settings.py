"""What the job `export_weights` writes, and where: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import pick
from emjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/export_weights.py`, which says what each is."""

    checkpoint: str
    output: str
    name: str
    licence: str
    overwrite: bool

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/export_weights.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config)
        for name in ("checkpoint", "output"):
            if not getattr(settings, name):
                raise InputError(f"{name} is empty; give --config.{name}=FOLDER")
        if "://" in settings.output:
            raise InputError(f"output={settings.output} must be a local folder; copy it from there")
        return settings
