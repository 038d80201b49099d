"""The target `skeleton_distance`: how near a voxel is to the skeleton of its object, relative to the edge."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.targets.edge_distance import edge_distance, relative_spacing
from emjax.targets.labels import IGNORE, as_channel, check_labels
from emjax.targets.medial_axis import axis_distance, medial_axis
from emjax.targets.metrics import MeanAbsoluteError
from emjax.targets.target import Losses, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkeletonDistance(Target):
    """One channel, from near 0 at the edge to 1 on the skeleton of each object, however thick the object is there.

    Attributes:
        losses: of the channel.
        alpha: exponent of the share; below 1 lifts the values near the edge.
        plane: whether skeletons and distances are those of each section.
    """

    losses: Losses = (("mse", 1.0),)
    alpha: float = 0.8
    plane: bool = False

    kind = "skeleton_distance"
    metric = MeanAbsoluteError("skeleton_distance_mae")
    known_losses = ("mse", "l1", "bce")
    decoder = "distance"
    continuous = True

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        return skeleton_distance(labels, self.alpha, relative_spacing(voxel_nm), self.plane)

    def __post_init__(self) -> None:
        """Raises InputError on options that are not valid."""
        super().__post_init__()
        if not 0 < self.alpha < float("inf"):
            raise InputError(f"skeleton_distance: alpha={self.alpha:g} must be above 0")


def skeleton_distance(
    labels: jax.Array,
    alpha: float = 0.8,
    spacing: jax.Array | Sequence[float] = (1.0, 1.0, 1.0),
    plane: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Returns (e / (e + s))^alpha, with the distances e to the edge and s to the skeleton of a voxel's own object.

    Args:
        labels: `[z, y, x]` int32, ids dense within the crop.
        alpha: the exponent.
        spacing: (z, y, x) distance between voxels; its unit cancels.
        plane: whether both are measured within each section.

    Returns:
        values and mask, each `[z, y, x, 1]` float32; background is 0. Masked as in
        `emjax.targets.distance.instance_distance`: where an edge may be hidden, or none is in sight; and
        pieces of an object without any skeleton in the crop.

    Source: target 8 of PyTorch Connectomics, whose background is -1, and whose skeletons are those of kimimaro; here
    they are medial axes (`emjax.targets.medial_axis`), made within the compiled step.
    """
    check_labels(labels)
    spacing = jnp.asarray(spacing, jnp.float32)
    axis, edge = medial_axis(labels, spacing, plane)
    skeleton = axis_distance(labels, axis, spacing, plane)
    unlabelled = edge_distance((labels == IGNORE).astype(labels.dtype), spacing, plane)
    inside = labels > 0
    # A piece in a corner of the crop sees no two edges on opposite sides, and so no skeleton.
    known = inside & (edge < unlabelled) & jnp.isfinite(skeleton) | (labels == 0)
    # Where no edge is in sight, both are infinite.
    share = jnp.where(known & inside, edge / (edge + jnp.where(known, skeleton, 0.0)), 0.0)
    return as_channel(share**alpha), as_channel(known)
