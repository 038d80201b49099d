"""The target `foreground`: whether a voxel belongs to any object, or to one of a list of ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.targets.labels import IGNORE, as_channel, check_ids, check_labels
from emjax.targets.metrics import IntersectionOverUnion
from emjax.targets.target import Losses, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foreground(Target):
    """One channel, 1 in objects.

    Attributes:
        losses: of the channel.
        ids: the ids of the file that count as foreground; (): all ids above 0.
    """

    losses: Losses = (("bce", 1.0), ("dice", 1.0))
    ids: tuple[int, ...] = ()

    kind = "foreground"
    metric = IntersectionOverUnion("foreground_iou")
    decoder = "components"

    @property
    def reads(self) -> str:
        """Which labels the target reads: those with the ids of the file if `ids` names some."""
        return "classes" if self.ids else "labels"

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        return foreground(labels, self.ids)

    def __post_init__(self) -> None:
        """Raises InputError on options that are not valid."""
        super().__post_init__()
        check_ids(self.kind, self.ids, least=1)


def foreground(labels: jax.Array, ids: Sequence[int] = ()) -> tuple[jax.Array, jax.Array]:
    """Marks the voxels of objects.

    Args:
        labels: `[z, y, x]` int32.
        ids: the ids that count as foreground; (): all above 0. Loaders renumber the ids of each crop, so
            ids have a meaning only in labels that keep the ids of the file.

    Returns:
        values and mask, each `[z, y, x, 1]` float32; the mask is 0 where the label is `IGNORE`.

    Raises:
        InputError: if the labels are not those of one crop.
    """
    check_labels(labels)
    inside = jnp.isin(labels, jnp.asarray(ids, labels.dtype)) if ids else labels > 0
    return as_channel(inside & (labels != IGNORE)), as_channel(labels != IGNORE)
