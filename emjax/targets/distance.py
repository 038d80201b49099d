"""The target `distance`: how deep in its object a voxel lies, 0 at the edge to 1 in the middle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.targets.edge_distance import known_distance, relative_spacing
from emjax.targets.labels import as_channel
from emjax.targets.metrics import MeanAbsoluteError
from emjax.targets.target import Losses, Target

# Number of ids of a crop (of a section, if `plane`) for which a maximum is kept.
MOST_IDS = 65_536


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distance(Target):
    """One channel: the distance to the edge of the own object, as a share of the object's largest.

    Attributes:
        losses: of the channel.
        plane: whether distances are measured, and scaled, within each section.
    """

    losses: Losses = (("mse", 1.0),)
    plane: bool = False

    kind = "distance"
    metric = MeanAbsoluteError("distance_mae")
    known_losses = ("mse", "l1", "bce")
    decoder = "distance"
    continuous = True

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        return instance_distance(labels, relative_spacing(voxel_nm), self.plane)


def instance_distance(
    labels: jax.Array,
    spacing: jax.Array | Sequence[float] = (1.0, 1.0, 1.0),
    plane: bool = False,
    num_ids: int = MOST_IDS,
) -> tuple[jax.Array, jax.Array]:
    """Returns the distance to the edge of a voxel's own object, scaled to a maximum of 1 in each object; background 0.

    Args:
        labels: `[z, y, x]` int32, ids dense within the crop.
        spacing: (z, y, x) distance between voxels; its unit cancels.
        plane: whether distances are measured, and scaled, within each section.
        num_ids: more than the largest id; static. Values of larger ids are NaN, so that the mistake is
            noticed.

    Returns:
        values and mask, each `[z, y, x, 1]` float32. Edges beyond the crop are not seen, so objects that its
        border cuts are scaled by the part inside. Masked: unlabelled voxels, voxels that are as near to an
        unlabelled voxel as to the edge, and objects that fill the crop (no edge in sight).

    Source: the "D" of PyTorch Connectomics' BCD, whose background is -1; here it is 0, so that the
    target is a number in [0, 1].
    """
    distance, unlabelled = known_distance(labels, labels, spacing, plane)
    inside = labels > 0
    known = (distance < unlabelled) & inside | (labels == 0)
    group = jnp.where(inside, labels, 0)
    depth = jnp.where(inside, distance, 0.0)

    def deepest(depth: jax.Array, group: jax.Array) -> jax.Array:
        most = jax.ops.segment_max(depth.ravel(), group.ravel(), num_segments=num_ids)
        return jnp.take(most, group, mode="fill", fill_value=jnp.nan)

    most = (jax.vmap(deepest) if plane else deepest)(depth, group)
    return as_channel(jnp.where(known & inside, depth / most, 0.0)), as_channel(known)
