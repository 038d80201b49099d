"""How the job `postprocess` changes a volume: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import pick
from emjax.errors import InputError
from emjax.postprocess.language import parse_operations
from emjax.postprocess.operation import Operation
from emjax.volume_config import VolumeSettings
from emjax.volumes.formats import check_zarr_name


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/postprocess.py`, which says what each is; `shared` are those of all jobs on volumes."""

    shared: VolumeSettings
    input: str
    output: str
    operations: str

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/postprocess.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config, shared=VolumeSettings.from_config(config, "input", "output"))
        if settings.shared.halo:
            raise InputError(
                f"halo={settings.shared.halo}: a block reads what its operations need; leave it out"
            )
        parse_operations(settings.operations)
        return dataclasses.replace(settings, output=check_zarr_name(settings.output))

    @property
    def chain(self) -> tuple[Operation, ...]:
        """The operations, in their order."""
        return parse_operations(self.operations)
