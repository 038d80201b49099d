"""How the job `predict` applies a network: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import nearest, pick
from emjax.errors import InputError
from emjax.inference.predictor import DTYPES
from emjax.jobs.predict.voxel_size import AT
from emjax.volume_config import VolumeSettings
from emjax.volumes.formats import check_zarr_name


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/predict.py`, which says what each is; `shared` are those of all jobs on volumes."""

    shared: VolumeSettings
    checkpoint: str
    input: str
    output: str
    at: str
    resample: bool
    dtype: str
    channels: str
    tile_size: tuple[int, ...]
    overlap: float
    blending: str
    variants: int
    batch_size: int
    part: str

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/predict.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        _read_part(config.part)
        settings = pick(
            cls, config, shared=VolumeSettings.from_config(config, "checkpoint", "input", "output")
        )
        settings._check()
        return dataclasses.replace(settings, output=check_zarr_name(settings.output))

    def _check(self) -> None:
        """Checks the fields that are this job's own."""
        if self.shared.cluster:
            raise InputError(
                f"cluster={self.shared.cluster}: accelerators share the blocks, without a scheduler; leave it out, "
                "and start N processes, each with its own --config.part=I/N, I from 0 to N - 1, and all with one "
                "--workdir"
            )
        if self.shared.halo:
            raise InputError(
                f"halo={self.shared.halo}: prediction reads what its tiles need; leave it out, and set overlap"
            )
        if self.at not in AT:
            raise InputError(f"at='{self.at}' is unknown{nearest(self.at, AT)}")
        if self.dtype not in DTYPES:
            raise InputError(f"dtype='{self.dtype}' is unknown{nearest(self.dtype, DTYPES)}")
        if self.batch_size < 0:
            raise InputError(f"batch_size={self.batch_size} must be 0 or more tiles")

    @property
    def rank_and_world(self) -> tuple[int, int]:
        """Number of this process, and how many share the blocks, of `part`."""
        return _read_part(self.part)


def _read_part(text: str) -> tuple[int, int]:
    """Reads `I/N`."""
    first, _, last = text.partition("/")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise InputError(f"part={text} must be I/N with I from 0 to N - 1, as in part=0/4")
    return int(first), int(last)
