"""How the job `objects` measures: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import pick
from emjax.errors import InputError
from emjax.volume_config import VolumeSettings


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/objects.py`, which says what each is; `shared` are those of all jobs on volumes."""

    shared: VolumeSettings
    input: str
    image: str
    ignore_ids: tuple[int, ...]

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/objects.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config, shared=VolumeSettings.from_config(config, "input"))
        settings._check()
        return settings

    def _check(self) -> None:
        """Checks the fields that are this job's own."""
        if self.shared.halo:
            raise InputError(
                f"halo={self.shared.halo}: a block reads one voxel around it; leave it out"
            )
