"""The target `affinities`: whether two voxels belong to the same object. No other module makes affinities for training.

An offset is negative, z, y, x: the channel of o = (-1, 0, 0) at voxel p joins p and p + o. Values that
cannot be known (p + o outside of the crop, either voxel ignored) are masked, never filled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.targets.labels import IGNORE, check_labels, neighbour
from emjax.targets.metrics import F1
from emjax.targets.offsets import NEAREST, Offset, check_offsets
from emjax.targets.target import Losses, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Affinities(Target):
    """One channel for each offset: 1 where the two voxels have the same id.

    Attributes:
        losses: of all channels together.
        offsets: (z, y, x) voxels from a voxel to its partner, negative.
    """

    losses: Losses = (("balanced_bce", 1.0),)
    offsets: tuple[Offset, ...] = NEAREST

    kind = "affinities"
    # Scores the edges that separate two objects, which are the rare class (our choice).
    metric = F1("affinity_f1", of="zeros")
    decoder = "agglomerate"
    reads = "widened"

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel, always 'affinity'; the offsets tell the channels apart."""
        return ("affinity",) * len(self.offsets)

    @property
    def channel_offsets(self) -> tuple[Offset | None, ...]:
        """The offset of each channel."""
        return self.offsets

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`; raises InputError for an offset as long as the crop."""
        check_labels(labels)
        for offset in self.offsets:
            if any(-o >= n for o, n in zip(offset, labels.shape, strict=True)):
                raise InputError(
                    f"affinities: offset {','.join(map(str, offset))} leaves no pair in a crop of "
                    f"{labels.shape}; enlarge data.crop_size or leave that offset out"
                )
        return affinities(labels, self.offsets)

    def __post_init__(self) -> None:
        """Raises InputError on options that are not valid."""
        super().__post_init__()
        check_offsets(self.offsets)


def affinities(labels: jax.Array, offsets: Sequence[Offset]) -> tuple[jax.Array, jax.Array]:
    """Makes one channel for each offset.

    Args:
        labels: `[z, y, x]` int32.
        offsets: (z, y, x) voxels, negative.

    Returns:
        values: `[z, y, x, c]` float32, 1 where p and p + o have the same id above 0, else 0.
        mask: `[z, y, x, c]` float32, 1 where both labels are known and inside of the crop.

    Raises:
        InputError: if the labels are not those of one crop, or an offset is not negative.

    Source: the sign and the place are those of the targets of PyTorch Connectomics and of the code
    of arXiv:2308.09917. Where a voxel has no partner, the former has 0 and the latter, for the
    nearest offsets, the foreground; masking is our choice.
    """
    check_labels(labels)
    check_offsets(offsets)
    partners = jnp.stack([neighbour(labels, offset) for offset in offsets], axis=-1)
    here = labels[..., None]
    values = (here == partners) & (here > 0)
    mask = (here != IGNORE) & (partners != IGNORE)
    return values.astype(jnp.float32), mask.astype(jnp.float32)
