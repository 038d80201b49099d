"""How the job `segment` decodes: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import nearest, pick
from emjax.errors import InputError
from emjax.jobs.segment.written import AT
from emjax.volume_config import VolumeSettings
from emjax.volumes.formats import check_zarr_name


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/segment.py`, which says what each is; `shared` are those of all jobs on volumes."""

    shared: VolumeSettings
    input: str
    output: str
    method: str
    settings: str
    fragment_size: tuple[int, ...]
    graph: str
    at: str
    of: str
    channels: str

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/segment.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config, shared=VolumeSettings.from_config(config, "input", "output"))
        if settings.at not in AT:
            raise InputError(f"at='{settings.at}' is unknown{nearest(settings.at, AT)}")
        return dataclasses.replace(settings, output=check_zarr_name(settings.output))
