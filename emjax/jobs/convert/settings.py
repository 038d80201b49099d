"""How the job `convert` copies: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import nearest, pick
from emjax.errors import InputError
from emjax.volume_config import VolumeSettings
from emjax.volumes.write.casting import KINDS

DTYPES = (
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/convert.py`, which says what each is; `shared` are those of all jobs on volumes."""

    shared: VolumeSettings
    input: str
    output: str
    kind: str
    levels: int
    dtype: str
    value_range: str
    chunk: tuple[int, ...]
    shard: tuple[int, ...]

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/convert.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config, shared=VolumeSettings.from_config(config, "input", "output"))
        settings._check()
        return settings

    def _check(self) -> None:
        """Checks the fields that are this job's own."""
        if self.shared.halo:
            raise InputError(
                f"halo={self.shared.halo}: blocks are copied without one; leave it out"
            )
        if self.levels < 0:
            raise InputError(
                f"levels={self.levels} must be 1 or more, or 0: until a level is one chunk"
            )
        for name, sizes in (("chunk", self.chunk), ("shard", self.shard)):
            if sizes and (len(sizes) != 3 or any(not isinstance(n, int) or n < 1 for n in sizes)):
                raise InputError(
                    f"{name}={sizes}: needs three whole numbers of 1 or more, z, y, x voxels"
                )
        if self.kind not in ("", *KINDS):
            raise InputError(f"kind='{self.kind}' is unknown{nearest(self.kind, KINDS)}")
        if self.dtype and self.dtype not in DTYPES:
            raise InputError(f"dtype='{self.dtype}' is unknown{nearest(self.dtype, DTYPES)}")
