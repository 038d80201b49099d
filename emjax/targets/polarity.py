"""The targets `polarity` and `exclusive_polarity`: the pre- and the post-synaptic side of synapses.

The labels pair both sides of a synapse by their ids: 2n - 1 is the pre-synaptic and 2n the post-synaptic side of
synapse n.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.targets.labels import IGNORE, check_labels
from emjax.targets.metrics import F1, ClassMeanIou
from emjax.targets.target import CLASS_LOSSES, Losses, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Polarity(Target):
    """Three channels that may overlap: the pre-synaptic side, the post-synaptic side, and either of them.

    Attributes:
        losses: of all channels together.
    """

    losses: Losses = (("balanced_bce", 1.0), ("dice", 1.0))

    kind = "polarity"
    metric = F1("polarity_f1")
    decoder = "polarity"
    # Ids that are renumbered for each crop would not be odd and even any more.
    reads = "classes"

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel."""
        return ("pre", "post", "synapse")

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        return polarity(labels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExclusivePolarity(Target):
    """Three channels of which a voxel has exactly one: no synapse, the pre-synaptic side, the post-synaptic side.

    Attributes:
        losses: of all channels together.
    """

    losses: Losses = (("cross_entropy", 1.0), ("dice", 1.0))

    kind = "exclusive_polarity"
    metric = ClassMeanIou("exclusive_polarity_mean_iou")
    activation = "softmax"
    known_losses = CLASS_LOSSES
    decoder = "polarity"
    reads = "classes"

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel."""
        return ("no_synapse", "pre", "post")

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        values, mask = polarity(labels)
        pre, post, either = (values[..., c] for c in range(3))
        return jnp.stack([mask[..., 0] - either, pre, post], axis=-1), mask


def polarity(labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Marks both sides of synapses.

    Args:
        labels: `[z, y, x]` int32 with the ids of the file: odd ones are pre-synaptic, even ones above 0 post-synaptic.

    Returns:
        values `[z, y, x, 3]` float32: pre, post, either; and mask of the same shape, 0 where the label is `IGNORE`.

    Raises:
        InputError: if the labels are not those of one crop.

    Source: target 1 of PyTorch Connectomics.
    """
    check_labels(labels)
    either = labels > 0
    pre = either & (labels % 2 == 1)
    values = jnp.stack([pre, either & ~pre, either], axis=-1).astype(jnp.float32)
    mask = jnp.broadcast_to((labels != IGNORE)[..., None], values.shape)
    return values, mask.astype(jnp.float32)
