"""How the job `swc` works: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import check_triple, pick
from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.skeletons.unit import Unit


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/swc.py`, which says what each is."""

    input: str
    output: str
    unit: str
    to_unit: str
    voxel_nm: tuple[float, ...]
    repair: bool
    join: float
    prune: float
    smooth: int
    resample: float
    overwrite: bool

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/swc.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config)
        settings._check()
        return settings

    @property
    def units(self) -> tuple[Unit, Unit]:
        """Units of input and output."""
        first = Unit.parse(self.unit, "unit")
        return first, Unit.parse(self.to_unit, "to_unit") if self.to_unit else first

    @property
    def voxel_size(self) -> Triple | None:
        """(z, y, x) voxel size, nm; None where none was given."""
        return tuple(map(float, self.voxel_nm)) if self.voxel_nm else None

    def _check(self) -> None:
        """Checks all fields."""
        if not self.input:
            raise InputError("input is empty; give --config.input=FILE.swc")
        first, second = self.units
        if len(self.voxel_nm):
            check_triple("voxel_nm", self.voxel_nm, "nm")
        if (first.nm is None) != (second.nm is None) and not self.voxel_nm:
            raise InputError(
                f"unit={first.name}, to_unit={second.name}: the size of voxels is needed between them; give "
                "--config.voxel_nm=Z,Y,X"
            )
        for name in ("join", "prune", "resample"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name):g} must be 0 or more")
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise InputError(f"smooth={self.smooth} must be an odd number of points, 1 or more")
        if self.output:
            return
        idle = {"to_unit": "", "join": 0, "prune": 0, "smooth": 1, "resample": 0}
        for name, value in idle.items():
            if getattr(self, name) != value:
                raise InputError(
                    f"{name}={getattr(self, name)} changes what is written; give --config.output=FILE.swc, too"
                )
