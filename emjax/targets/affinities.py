"""Affinities: do two voxels belong to the same object? The one place that makes them.

An offset is negative, z, y, x: channel of o = (-1, 0, 0) at voxel p joins p and p + o. What cannot
be known (p + o outside of the crop, either voxel ignored) is masked, never filled.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.targets.labels import IGNORE, check_labels, neighbour

Offset = tuple[int, int, int]

NEAREST: tuple[Offset, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))

# Longer steps in the plane than across sections: anisotropic EM, some 30 to 50 nm x 4 to 8 nm.
LONG_RANGE: tuple[Offset, ...] = (
    *NEAREST,
    *((-2, 0, 0), (0, -3, 0), (0, 0, -3)),
    *((-3, 0, 0), (0, -9, 0), (0, 0, -9)),
    *((-4, 0, 0), (0, -27, 0), (0, 0, -27)),
)

# As the target language calls them.
OFFSETS: dict[str, tuple[Offset, ...]] = {"nearest": NEAREST, "long": LONG_RANGE}


def affinities(labels: jax.Array, offsets: Sequence[Offset]) -> tuple[jax.Array, jax.Array]:
    """Makes one channel for each offset.

    Args:
        labels: `[z, y, x]` int32.
        offsets: (z, y, x) voxels, negative.

    Returns:
        values: `[z, y, x, c]` float32, 1 where p and p + o have the same id above 0, else 0.
        mask: `[z, y, x, c]` float32, 1 where both labels are known and inside of the crop.

    Raises:
        InputError: labels are no crop, or an offset is not negative.

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


def check_offsets(offsets: Sequence[Offset]) -> None:
    """Raises InputError unless all offsets are negative triples and none is given twice."""
    if not offsets:
        raise InputError("affinities need at least one offset; for example offsets=nearest")
    for offset in offsets:
        shown = ",".join(map(str, offset))
        if len(offset) != 3:
            raise InputError(
                f"offset {shown} has {len(offset)} numbers; give z,y,x in voxels, for example -1,0,0"
            )
        if max(offset) > 0:
            flipped = ",".join(str(-abs(o)) for o in offset)
            raise InputError(
                f"offset {shown} is positive; offsets point back along the axes: use {flipped}"
            )
        if min(offset) == 0:
            raise InputError("offset 0,0,0 joins a voxel to itself; use -1,0,0 or the like")
        if list(offsets).count(offset) > 1:
            raise InputError(f"offset {shown} is given twice; give each offset once")
