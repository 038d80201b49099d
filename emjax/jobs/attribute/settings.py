"""How the job `attribute` explains a network: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.attribution.score import REGIONS
from emjax.config import nearest, pick
from emjax.errors import InputError
from emjax.volume_config import VolumeSettings

# Method -> title, and whether it tells sections apart.
METHODS = {
    "gradient": ("gradient", True),
    "input_x_gradient": ("input x gradient", True),
    "integrated_gradients": ("integrated gradients", True),
    "smooth_gradient": ("SmoothGrad", True),
    "section_occlusion": ("section occlusion", True),
    "patch_occlusion": ("patch occlusion", True),
    "guided_backpropagation": ("guided backpropagation", True),
    "grad_cam": ("Grad-CAM", False),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/attribute.py`, which says what each is; `shared` are those of all jobs on volumes."""

    shared: VolumeSettings
    checkpoint: str
    input: str
    labels: str
    region: str
    channel: str
    methods: str
    sections: int
    tile_size: tuple[int, ...]
    images: int
    least_voxels: int
    pictures: int
    ig_steps: int
    smooth_copies: int
    smooth_sigma: float
    patch: int
    patch_stride: int
    seed: int

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/attribute.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(
            cls, config, shared=VolumeSettings.from_config(config, "checkpoint", "input")
        )
        settings._check()
        return settings

    @property
    def chosen(self) -> tuple[str, ...]:
        """The methods, each once, in the order in which they are named."""
        return tuple(
            dict.fromkeys(name.strip() for name in self.methods.split(",") if name.strip())
        )

    def _check(self) -> None:
        """Checks the fields that are this job's own."""
        if self.shared.cluster:
            raise InputError(
                f"cluster={self.shared.cluster}: a few tiles are explained in this process; leave it out"
            )
        if self.region not in REGIONS:
            raise InputError(f"region='{self.region}' is unknown{nearest(self.region, REGIONS)}")
        if self.region != "all" and not self.labels:
            raise InputError(
                f"region={self.region} needs labels; give --config.labels=ADDRESS, or --config.region=all"
            )
        for name in self.chosen:
            if name not in METHODS:
                raise InputError(f"methods: '{name}' is unknown{nearest(name, METHODS)}")
        if not self.chosen:
            raise InputError(f"methods is empty; give some of {', '.join(METHODS)}")
        if self.sections < 3 or self.sections % 2 == 0:
            raise InputError(
                f"sections={self.sections} have no neighbours of a middle one; give an odd number from 3"
            )
        if self.tile_size and (len(self.tile_size) != 2 or min(self.tile_size) < 1):
            raise InputError(f"tile_size={self.tile_size}: give two numbers, y, x pixels")
        for name in (
            "images",
            "least_voxels",
            "ig_steps",
            "smooth_copies",
            "patch",
            "patch_stride",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("pictures", "smooth_sigma", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} must be 0 or more")
