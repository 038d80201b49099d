"""Contrast: a rule that is the same for all volumes, and the two numbers that it gives for each."""

from __future__ import annotations

import concurrent.futures
from typing import NamedTuple

import numpy as np

from emjax.data.grey_values import stretch
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.volume import Volume

# Stored with a checkpoint; the numbers are those of each volume.
RULE = {"kind": "percentiles", "low": 0.5, "high": 99.5}
_SAMPLES = 24
_SAMPLE_SIZE = (8, 128, 128)
_IMAGE_DTYPES = ("uint8", "uint16", "int16", "float16", "float32", "float64")
# Share of equal neighbours above which an image is taken for labels: even noise-free EM stays far below.
_FLAT = 0.98
# Fewer grey values than this make no image.
_MASK_VALUES = 4


class Normalization(NamedTuple):
    """The grey values that become 0 and 255."""

    low: float
    high: float

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Stretches grey values.

        Args:
            image: any shape.

        Returns:
            uint8 of the same shape; values outside are clipped, NaN is 0.
        """
        return stretch(image, self.low, self.high)


def measure(volume: Volume) -> Normalization:
    """Finds a volume's percentiles from blocks spread over it.

    The blocks depend on the volume's size alone, so that a run that goes on sees the same contrast.

    Args:
        volume: an image.

    Raises:
        InputError: if it cannot be an image: wrong type, labels, NaN, or no contrast.
    """
    dtype = volume.dtype
    if dtype.kind in "ui" and dtype.itemsize >= 4:
        raise InputError(
            f"{volume.name} is {dtype}, which labels are, not images; give the image (8 or 16 bits, or float)"
        )
    if dtype.name not in _IMAGE_DTYPES:
        raise InputError(
            f"{volume.name} is {dtype}; an image needs one of {', '.join(_IMAGE_DTYPES)}"
        )
    if len(volume.shape) != 3:
        raise InputError(
            f"{volume.name} has axes {volume.shape}; an image needs z, y, x: choose one with ?channel=0"
        )
    try:
        blocks = _sample(volume)
    except (ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"{volume.name} cannot be read: {reason}") from error
    values = np.concatenate([block.ravel() for block in blocks])
    if dtype.kind == "f":
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise InputError(
                f"{volume.name}: {bad} of {values.size} sampled voxels are NaN or infinite; "
                "replace them before training"
            )
    if values.min() == values.max():
        raise InputError(
            f"{volume.name} is constant ({values.min()}) in all {len(blocks)} places looked at; check address and box"
        )
    if volume.address.keys.get("kind") != "image":
        _refuse_labels(volume, blocks)
    low, high = (float(v) for v in np.percentile(values, (RULE["low"], RULE["high"])))
    if low == high:
        # Almost all voxels are padding of one value; the rest must still have contrast.
        low, high = float(values.min()), float(values.max())
    return Normalization(low, high)


def _refuse_labels(volume: Volume, blocks: list[np.ndarray]) -> None:
    few = np.unique(np.concatenate([np.unique(block) for block in blocks]))
    if len(few) <= _MASK_VALUES:
        raise InputError(
            f"{volume.name} looks like a mask: its only values are {', '.join(map(str, few))}; give "
            "the image, or add ?kind=image if it is one"
        )
    textured = [block for block in blocks if block.min() != block.max()]
    equal = float(np.mean([np.mean(b[..., 1:] == b[..., :-1]) for b in textured]))
    if equal >= _FLAT:
        raise InputError(
            f"{volume.name} looks like labels: {100 * equal:.1f} % of neighbouring voxels are equal; "
            "give the image, or add ?kind=image if it is one"
        )


def _sample(volume: Volume) -> list[np.ndarray]:
    size = tuple(map(min, _SAMPLE_SIZE, volume.size))
    rng = np.random.Generator(np.random.Philox(key=[0, 0]))
    room = [n - s + 1 for n, s in zip(volume.size, size, strict=True)]
    starts = [tuple(int(rng.integers(r)) for r in room) for _ in range(_SAMPLES)]
    boxes = [Box(start, size) for start in dict.fromkeys(starts)]
    # A server or a codec is waited for by all at once.
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        return list(threads.map(volume.read, boxes))
