"""Offsets from a voxel to its partner in an affinity: z, y, x voxels, negative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from emjax.errors import InputError

Offset: TypeAlias = tuple[int, int, int]

NEAREST: tuple[Offset, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))

# Longer steps in the plane than across sections, for anisotropic EM of some 30 to 50 nm x 4 to 8 nm.
LONG_RANGE: tuple[Offset, ...] = (
    *NEAREST,
    *((-2, 0, 0), (0, -3, 0), (0, 0, -3)),
    *((-3, 0, 0), (0, -9, 0), (0, 0, -9)),
    *((-4, 0, 0), (0, -27, 0), (0, 0, -27)),
)

# Names of sets of offsets in the target language.
OFFSETS: dict[str, tuple[Offset, ...]] = {"nearest": NEAREST, "long": LONG_RANGE}


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
