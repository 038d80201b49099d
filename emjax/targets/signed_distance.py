"""The target `signed_distance`: the distance to the edge of the foreground, positive inside and negative outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.targets.edge_distance import known_distance, relative_spacing
from emjax.targets.labels import IGNORE, as_channel
from emjax.targets.metrics import MeanAbsoluteError
from emjax.targets.target import Losses, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignedDistance(Target):
    """One channel, from -1 far outside to 1 deep inside the foreground.

    Attributes:
        losses: of the channel.
        inside: distance at which the value in the foreground is tanh(1), in units of a voxel's shortest side.
        outside: the same for the background.
        plane: whether distances are measured within each section.
    """

    losses: Losses = (("mse", 1.0),)
    inside: float = 8.0
    outside: float = 50.0
    plane: bool = False

    kind = "signed_distance"
    metric = MeanAbsoluteError("signed_distance_mae", lowest=-1.0)
    activation = "tanh"
    known_losses = ("mse", "l1")
    decoder = "distance"
    continuous = True

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`; values in [-1, 1], which `unit` and stored predictions map to [0, 1]."""
        spacing = relative_spacing(voxel_nm)
        return signed_distance(labels, self.inside, self.outside, spacing, self.plane)

    def __post_init__(self) -> None:
        """Raises InputError on options that are not valid."""
        super().__post_init__()
        for name, value in (("inside", self.inside), ("outside", self.outside)):
            if not 0 < value < float("inf"):
                raise InputError(
                    f"signed_distance: {name}={value:g} must be above 0, in sides of a voxel"
                )


def signed_distance(
    labels: jax.Array,
    inside: float = 8.0,
    outside: float = 50.0,
    spacing: jax.Array | Sequence[float] = (1.0, 1.0, 1.0),
    plane: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Returns the squashed distance to the edge of the foreground: tanh(d / inside), outside -tanh(d / outside).

    Args:
        labels: `[z, y, x]` int32; above 0 is foreground, whatever the id.
        inside: distance at which the value in the foreground is tanh(1), in units of `spacing`.
        outside: the same in the background.
        spacing: (z, y, x) distance between voxels.
        plane: whether distances are measured within each section.

    Returns:
        values `[z, y, x, 1]` float32 in [-1, 1] and mask `[z, y, x, 1]` float32. A crop (a section, if
        `plane`) that is all foreground or all background is 1 or -1. Masked: unlabelled voxels, and voxels
        that are as near to an unlabelled voxel as to the edge.

    Source: semantic distance of PyTorch Connectomics, alpha 8 and beta 50.
    """
    sides = jnp.where(labels == IGNORE, IGNORE, (labels > 0).astype(labels.dtype))
    distance, unlabelled = known_distance(labels, sides, spacing, plane)
    value = jnp.where(sides > 0, jnp.tanh(distance / inside), -jnp.tanh(distance / outside))
    known = (distance < unlabelled) | jnp.isinf(unlabelled)
    known &= labels != IGNORE
    return as_channel(jnp.where(known, value, 0.0)), as_channel(known)
