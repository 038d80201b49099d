"""The levels of a pyramid, fine to coarse, each cut to the part that is shown."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

# Relative tolerance of ratios of voxel sizes, which are often stored rounded.
_ROUNDING = 1e-3
# Most levels of a pyramid that are looked for.
_MOST_LEVELS = 32


class Level(NamedTuple):
    """A level of a pyramid, cut to the same part as the volume.

    Attributes:
        factor: (z, y, x) voxels of the volume that one voxel of the level stands for.
        store: `[..., z, y, x]` voxels; its size is that of the volume / factor, rounded up.
    """

    factor: Size
    store: ts.TensorStore


def find_levels(volume: Volume) -> list[Level]:
    """Finds the coarser levels of the pyramid that a volume belongs to.

    A level is left out if its voxels are not whole numbers of the volume's voxels, or if the volume begins within one
    of its voxels.

    Args:
        volume: a volume or a part of one.

    Returns:
        The volume itself, then the coarser levels.
    """
    levels = [Level((1, 1, 1), volume.store)]
    address = dataclasses.replace(volume.address, box="")
    own = int(address.keys.get("level", "0"))
    # A voxel size in the address is that of the addressed level, so it must not be applied to others.
    keys = {key: value for key, value in address.keys.items() if key != "voxel_nm"}
    try:
        whole = open_volume(dataclasses.replace(address, keys=keys))
        for number in range(own + 1, own + _MOST_LEVELS):
            coarse = open_volume(dataclasses.replace(address, keys=keys | {"level": str(number)}))
            level = _cut(volume, whole, coarse)
            if level is not None:
                levels.append(level)
    except InputError:
        # No pyramid, or no further level.
        pass
    return levels


def best_level(factors: list[Size], wanted: Size) -> int:
    """Returns the index of the coarsest level from which a scale can be made.

    Args:
        factors: (z, y, x) factor of each level.
        wanted: (z, y, x) voxels that are drawn as one.
    """
    fits = [
        i for i, f in enumerate(factors) if not any(w % n for w, n in zip(wanted, f, strict=True))
    ]
    return max(fits, key=lambda i: int(np.prod(factors[i])))


def _cut(volume: Volume, whole: Volume, coarse: Volume) -> Level | None:
    """Cuts a coarser level to the same part as the volume; None if it does not fit."""
    if whole.voxel_nm is not None and coarse.voxel_nm is not None:
        ratio = np.divide(coarse.voxel_nm, whole.voxel_nm)
    else:
        ratio = np.divide(whole.size, coarse.size)
    factor = np.maximum(1, np.rint(ratio)).astype(int)
    # Without voxel sizes the ratio is only near a whole number, since the sizes of levels are rounded.
    exact = whole.voxel_nm is None or np.allclose(ratio, factor, rtol=_ROUNDING)
    sides = [(n // f, -(-n // f)) for n, f in zip(whole.size, factor, strict=True)]
    fits = all(n in side for n, side in zip(coarse.size, sides, strict=True))
    box = volume.box
    if not exact or not fits or any(s % f for s, f in zip(box.start, factor, strict=True)):
        return None
    start = tuple(int(s // f) for s, f in zip(box.start, factor, strict=True))
    size = [int(-(-n // f)) for n, f in zip(box.size, factor, strict=True)]
    stop = [min(s + n, m) for s, n, m in zip(start, size, coarse.size, strict=True)]
    if any(a >= b for a, b in zip(start, stop, strict=True)):
        return None
    store = coarse.crop(Box.between(start, tuple(stop))).store
    for axis, missing in enumerate(n - m for n, m in zip(size, store.shape[-3:], strict=True)):
        if missing:
            # The level's size was rounded down: repeat its last voxel for the remaining voxels of the volume.
            axis += store.rank - 3
            last = store[ts.d[axis][store.shape[axis] - 1 : store.shape[axis]]]
            store = ts.concat([store, last[ts.d[axis].translate_to[0]]], axis=axis)
    return Level(tuple(int(f) for f in factor), store)
