"""How the job `trace` works: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses
import math

from ml_collections import ConfigDict

from emjax.config import nearest, pick
from emjax.errors import InputError
from emjax.skeletons.unit import Unit
from emjax.tracing.backtracking import Coverage
from emjax.tracing.tracer import METHODS, Tracer

ALL = "all"
# Fields that mean something for a stack alone, with the values that they have otherwise.
_OF_STACKS = {
    "method": "",
    "threshold": "",
    "root": "",
    "image": "",
    "coverage": 0.98,
    "confidence": 0.5,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/trace.py`, which says what each is."""

    input: str
    output: str
    box: str
    method: str
    threshold: str
    root: str
    min_voxels: int
    gap: float
    prune: float
    smooth: int
    step: float
    scale: float
    constant: float
    coverage: float
    confidence: float
    trees: int
    unit: str
    ids: str
    objects: str
    image: str
    overwrite: bool
    allow_incomplete: bool

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/trace.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config)
        settings._check()
        return settings

    def tracer(self, method: str) -> Tracer:
        """Returns what traces.

        Args:
            method: of `METHODS`.
        """
        cover = Coverage(self.scale, self.constant, self.coverage, self.confidence)
        return Tracer(method, cover, self.gap, self.prune, self.smooth, self.step, self.trees)

    def swc_unit(self, voxel_known: bool) -> Unit:
        """Returns the unit of the SWC files.

        Args:
            voxel_known: whether the voxel size is known.
        """
        return Unit.parse(self.unit or ("um" if voxel_known else "voxel"), "unit")

    @property
    def root_voxel(self) -> tuple[int, ...] | None:
        """(z, y, x) voxel of the input's box; None where none was given."""
        return tuple(int(part) for part in self.root.split(",")) if self.root else None

    @property
    def threshold_value(self) -> float | None:
        """Value above which a voxel is neurite; None: follows from the input."""
        return float(self.threshold) if self.threshold else None

    @property
    def chosen_ids(self) -> tuple[int, ...] | None:
        """Ids of the objects, sorted; None: all."""
        return None if self.ids == ALL else tuple(sorted({int(i) for i in self.ids.split(",")}))

    def _check(self) -> None:
        """Checks all fields before anything is opened."""
        for name in ("input", "output"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty; give --config.{name}=...")
        if self.unit:
            Unit.parse(self.unit, "unit")
        if self.method and self.method not in METHODS:
            raise InputError(f"method='{self.method}' is unknown{nearest(self.method, METHODS)}")
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise InputError(f"smooth={self.smooth} must be an odd number of points, 1 or more")
        for name in ("min_voxels", "gap", "prune", "step", "scale", "constant", "trees"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise InputError(f"{name}={value:g} must be 0 or more")
        for name in ("coverage", "confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name):g} must be a share, 0 to 1")
        self._check_texts()
        if self.ids:
            for name, value in _OF_STACKS.items():
                if getattr(self, name) != value:
                    raise InputError(
                        f"{name}={getattr(self, name)} means nothing for objects of a segmentation; leave it or ids out"
                    )
        elif self.objects:
            raise InputError("objects is a table of a segmentation; give --config.ids, too")
        elif not self.output.lower().endswith(".swc"):
            raise InputError(f"output={self.output} must end in .swc")
        if self.method == "teasar":
            self.refuse_of_marching("teasar")

    def refuse_of_marching(self, method: str) -> None:
        """Refuses what means something for 'marching' alone.

        Args:
            method: that is used.

        Raises:
            InputError: naming the field.
        """
        for name in ("coverage", "confidence"):
            if method != "marching" and getattr(self, name) != _OF_STACKS[name]:
                raise InputError(
                    f"{name}={getattr(self, name):g} is of method 'marching', and this is '{method}'; leave it out, or "
                    "give --config.method=marching"
                )

    def _check_texts(self) -> None:
        """Checks what is text and means numbers."""
        parts = self.root.split(",") if self.root else ["0"] * 3
        if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
            raise InputError(f"root={self.root} must be three voxels, z,y,x, as in root=12,340,95")
        try:
            fine = not self.threshold or math.isfinite(float(self.threshold))
        except ValueError:
            fine = False
        if not fine:
            raise InputError(f"threshold={self.threshold} must be a number, in values of the input")
        ids = [] if self.ids in ("", ALL) else self.ids.split(",")
        if any(not part.strip().isdecimal() or int(part) == 0 for part in ids):
            raise InputError(f"ids={self.ids} must be ids above 0, as in ids=17,42, or 'all'")
