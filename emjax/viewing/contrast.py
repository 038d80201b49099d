"""Chooses the grey values between which an image is drawn, from small blocks of it."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from absl import logging

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.grey_range import GreyRange, grey_range
from emjax.volumes.volume import Volume

# (z, y, x) voxels of a block, and the relative places of the blocks along each axis.
_BLOCK = (4, 64, 64)
_QUARTERS = (0.25, 0.75)
# Share of equal neighbours from which on integer voxels are probably ids; noise keeps EM images far below it.
_FLAT = 0.9


class Contrast(NamedTuple):
    """The contrast of an image, estimated from a few blocks.

    Attributes:
        low: value that is drawn black.
        high: value that is drawn white.
        flat: whether most neighbouring voxels are equal, as they are in labels and masks.
    """

    low: float
    high: float
    flat: bool = False


def measure_contrast(volume: Volume) -> Contrast:
    """Estimates the contrast of a volume from eight blocks spread over it.

    Args:
        volume: volume `[z, y, x]` or `[c, z, y, x]` of numbers.

    Raises:
        InputError: if none of the blocks can be read.
    """
    boxes, blocks = _read(volume)
    found = GreyRange(0.0, 1.0)
    if all(np.isfinite(block).all() for block in blocks):
        read = volume.read if len(volume.shape) == 3 else None
        found = grey_range([block.astype(np.float64) for block in blocks], boxes, volume.size, read)
    else:
        finite = [block[np.isfinite(block)].astype(np.float64) for block in blocks]
        if any(values.size for values in finite):
            found = grey_range(finite)
    if found.remark:
        logging.info("%s: %s", volume.name, found.remark)
    low, high = found.low, found.high
    if low == high:
        high = low + 1
    textured = [b for b in blocks if b.shape[-1] > 1 and b.min() != b.max()]
    equal = [np.mean(b[..., 1:] == b[..., :-1]) for b in textured]
    flat = volume.dtype.kind in "ui" and bool(equal) and float(np.mean(equal)) >= _FLAT
    return Contrast(low, high, flat)


def _read(volume: Volume) -> tuple[list[Box], list[np.ndarray]]:
    """Returns the boxes and voxels of the blocks; leaves out damaged ones, since the rest can still be shown."""
    size = tuple(map(min, _BLOCK, volume.size))
    boxes, blocks, errors = [], [], []
    for quarters in itertools.product(_QUARTERS, repeat=3):
        start = tuple(int(q * (n - s)) for q, n, s in zip(quarters, volume.size, size, strict=True))
        try:
            blocks.append(volume.read(Box(start, size)))
            boxes.append(Box(start, size))
        except (InputError, OSError) as error:
            errors.append(error)
    if not blocks:
        raise InputError(str(errors[0])) from errors[0]
    if errors:
        logging.warning("%s", errors[0])
    return boxes, blocks
