"""The crops that judge a training and are never trained on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from emjax.data.opening import OpenedEntry
from emjax.geometry.sizes import Size
from emjax.train.preparation import make_crops
from emjax.train.settings import TrainSettings

# Differs from the seed of any run; the same for all, so that the same held-out crops judge every run.
HELD_OUT_SEED = 2**32


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What a judge is made from.

    Attributes:
        values: the complete configuration, as plain dicts.
        settings: the part of it that all training jobs share.
        task: the task that is learnt.
        mesh: device mesh; the judge must return scores on every process of it.
        entries: the volumes, or parts of volumes, that are never trained on.
        read_options: further options of `emjax.data.source.Crops`, as in training.
    """

    values: Mapping[str, Any]
    settings: TrainSettings
    task: Any
    mesh: Mesh
    entries: Sequence[OpenedEntry]
    read_options: Mapping[str, Any]

    def read_crops(self, size: Size) -> dict[str, np.ndarray]:
        """Reads `eval.crops` crops that are the same for every run.

        Args:
            size: (z, y, x) voxels of a crop.

        Returns:
            The arrays of `emjax.data.source.Crops.example`, stacked along a new first axis.
        """
        crops = make_crops(
            self.settings.data, self.entries, size, seed=HELD_OUT_SEED, **self.read_options
        )
        return crops.stack(range(self.values["eval"]["crops"]))

    @property
    def pixel_nm(self) -> float | None:
        """Voxel size of the crops along x, nm, for scale bars; None if it is unknown or mixed."""
        if self.settings.data.voxel_nm:
            return float(self.settings.data.voxel_nm[2])
        known = [entry.image.voxel_nm for entry in self.entries]
        sizes = {nm[2] if nm is not None else None for nm in known}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def chunk(self) -> int:
        """Number of crops to score at a time: a common divisor of their number and the batch size."""
        return math.gcd(self.values["eval"]["crops"], self.settings.data.batch_size)
