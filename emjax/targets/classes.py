"""The target `classes`: which one of a list of ids a voxel has."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.targets.labels import IGNORE, check_ids, check_labels
from emjax.targets.metrics import ClassMeanIou
from emjax.targets.options import required
from emjax.targets.target import CLASS_LOSSES, Losses, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classes(Target):
    """One channel for each id, of which a voxel has exactly one; voxels with other ids are masked.

    Attributes:
        losses: of all channels together.
        ids: two or more ids of the file; background may be one of them.
    """

    losses: Losses = (("cross_entropy", 1.0),)
    ids: tuple[int, ...] = required("0,1,2")

    kind = "classes"
    metric = ClassMeanIou("class_mean_iou")
    activation = "softmax"
    known_losses = CLASS_LOSSES
    # The option `ids` means ids of the file.
    reads = "classes"

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel, `class_` and its id."""
        return tuple(f"class_{i}" for i in self.ids)

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        return classes(labels, self.ids)

    def __post_init__(self) -> None:
        """Raises InputError on options that are not valid."""
        super().__post_init__()
        check_ids(self.kind, self.ids, least=0)
        if len(self.ids) < 2:
            raise InputError(
                f"classes: ids={','.join(map(str, self.ids))} is a choice of {len(self.ids)}; give "
                "two ids or more, background among them, for example ids=0,1,2"
            )


def classes(labels: jax.Array, ids: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """Makes one channel for each id.

    Args:
        labels: `[z, y, x]` int32, with the ids of the file.
        ids: the id of each channel.

    Returns:
        values: `[z, y, x, c]` float32, 1 where the voxel has the id.
        mask: `[z, y, x, c]` float32, 1 in all channels where the voxel has one of the ids.

    Raises:
        InputError: if the labels are not those of one crop.
    """
    check_labels(labels)
    values = (labels[..., None] == jnp.asarray(ids)) & (labels[..., None] != IGNORE)
    known = jnp.broadcast_to(jnp.any(values, axis=-1, keepdims=True), values.shape)
    return values.astype(jnp.float32), known.astype(jnp.float32)
