"""The target `energy`: the distance to the edge in levels, of which a voxel has exactly one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.targets.distance import instance_distance
from emjax.targets.edge_distance import relative_spacing
from emjax.targets.metrics import ClassMeanIou
from emjax.targets.target import CLASS_LOSSES, Losses, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Energy(Target):
    """One channel for background, and one for each level of the target `distance`.

    Attributes:
        losses: of all channels together.
        levels: number of levels in objects.
        plane: as of the target `distance`.
    """

    losses: Losses = (("cross_entropy", 1.0),)
    levels: int = 10
    plane: bool = False

    kind = "energy"
    metric = ClassMeanIou("energy_mean_iou")
    activation = "softmax"
    known_losses = CLASS_LOSSES
    decoder = "energy"

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel, `energy_` and its level; 0 is background."""
        return tuple(f"energy_{level}" for level in range(self.levels + 1))

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        values, mask = instance_distance(labels, relative_spacing(voxel_nm), self.plane)
        inside = jnp.where(labels > 0, values[..., 0], -1.0)
        found = jax.nn.one_hot(quantise(inside, self.levels), self.levels + 1)
        return found * mask, jnp.broadcast_to(mask, found.shape)

    def __post_init__(self) -> None:
        """Raises InputError on options that are not valid."""
        super().__post_init__()
        if not 2 <= self.levels <= 255:
            raise InputError(f"energy: levels={self.levels} must be 2 to 255")


def quantise(distance: jax.Array, levels: int = 10) -> jax.Array:
    """Returns the level of a distance: 0 below 0, else the tenth (of 10 levels) that it lies in, counted from 1.

    Args:
        distance: of any shape; in [0, 1] in objects, -1 in background.
        levels: number of levels in objects.

    Returns:
        int32 of the same shape, 0 to `levels`.

    Source: the quantised energy of PyTorch Connectomics; also of "Deep Watershed Transform", arXiv:1611.08303.
    """
    level = jnp.floor(distance * levels).astype(jnp.int32) + 1
    return jnp.where(distance < 0, 0, jnp.clip(level, 1, levels))
