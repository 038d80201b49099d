"""Detects a grey image where ids are expected: both are integers, but scores of an image would mean nothing."""

from __future__ import annotations

import itertools

import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.volume import Volume

# (z, y, x) voxels of a block; blocks lie at quarters of each axis.
_BLOCK = (4, 64, 64)
_QUARTERS = (0.25, 0.75)
# Images have many different values, none of which needs more than 16 bits.
_LEAST_VALUES, _LARGEST = 48, 65535
# Share of equal neighbours in a section: objects cover areas of several voxels, even the smallest ones.
_FEW_EQUAL = 0.25
# A smooth image has more equal neighbours, but its values change in small steps; touching ids may differ by any number.
_MORE_EQUAL, _SMALL_STEP = 0.6, 2
# Neighbours that a voxel above 0 needs, on average, for anything to be seen from them.
_LEAST_PAIRS = 0.25


def refuse_grey(volume: Volume, what: str) -> None:
    """Refuses a volume of ids if its values vary from voxel to voxel as in an image; looks at eight blocks.

    Args:
        volume: `[z, y, x]` integers.
        what: what the volume is to the job, for the error message.

    Raises:
        InputError: if it looks like an image, has fewer than 64 bits, and its address does not say `kind=labels`; or if
            it cannot be read.
    """
    # Nobody stores grey values in 64 bits.
    if "kind" in volume.address.keys or volume.dtype == bool or volume.dtype.itemsize == 8:
        return
    blocks = _read(volume)
    values = np.unique(np.concatenate([np.unique(block) for block in blocks]))
    if len(values) < _LEAST_VALUES or values[-1] > _LARGEST:
        return
    steps = np.concatenate([_steps(block) for block in blocks])
    if len(steps) < _LEAST_PAIRS * sum(np.count_nonzero(block) for block in blocks):
        # Points and thin lines, which ids may be; the voxels of an image have neighbours.
        return
    equal = float(np.mean(steps == 0)) if steps.size else 1.0
    smooth = equal < _MORE_EQUAL and np.median(steps[steps > 0]) <= _SMALL_STEP
    if equal < _FEW_EQUAL or smooth:
        raise InputError(
            f"{what} {volume.name} looks like a grey image: {len(values)} values, and only {equal:.0%} of neighbouring "
            "voxels are equal; give ids, or add ?kind=labels if these are ids"
        )


def _read(volume: Volume) -> list[np.ndarray]:
    size = tuple(map(min, _BLOCK, volume.size))
    starts = {
        tuple(int(q * (n - s)) for q, n, s in zip(quarters, volume.size, size, strict=True))
        for quarters in itertools.product(_QUARTERS, repeat=3)
    }
    return [volume.read(Box(start, size)) for start in sorted(starts)]


def _steps(block: np.ndarray) -> np.ndarray:
    """Returns the differences of neighbours in a section, where neither is 0: padding and edges are no evidence."""
    found = []
    wide = block.astype(np.int64)
    for low, high in (
        (wide[:, :-1], wide[:, 1:]),
        (wide[..., :-1], wide[..., 1:]),
    ):
        found.append(np.abs(high - low)[(high != 0) & (low != 0)])
    return np.concatenate(found)
