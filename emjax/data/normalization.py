"""Normalization of images: one rule for all volumes, which gives two grey values for each volume."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from emjax.data.grey_values import stretch
from emjax.errors import InputError, reason
from emjax.geometry.box import Box
from emjax.volumes.grey_range import PERCENTILES, grey_range
from emjax.volumes.volume import Volume

# The rule is stored with a checkpoint; its grey values are measured for each volume.
RULE = {
    "kind": "percentiles",
    "low": PERCENTILES[0],
    "high": PERCENTILES[1],
    "left_out": ["padding", "saturated"],  # see emjax.volumes.grey_range
}
# The rule of checkpoints that were trained without leaving voxels out; images for them are scaled in the same way.
ALL_VOXELS = {"kind": "percentiles", "low": 0.5, "high": 99.5}
_SAMPLES = 24
_SAMPLE_SIZE = (8, 128, 128)
_IMAGE_DTYPES = ("uint8", "uint16", "int16", "float16", "float32", "float64")
# Share of equal neighbours from which on an image is taken for labels; even noise-free EM stays far below it.
_FLAT = 0.98
# With this many different grey values or fewer, a volume is taken for a mask.
_MASK_VALUES = 4


class Normalization(NamedTuple):
    """The grey values that become 0 and 255."""

    low: float
    high: float

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Stretches the grey values of an image to 0 .. 255.

        Args:
            image: grey values of any shape.

        Returns:
            uint8 of the same shape; values outside are clipped, NaN becomes 0.
        """
        return stretch(image, self.low, self.high)


def known_rule(rule: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Returns the rule by which a network's images were scaled.

    Args:
        rule: of the checkpoint's description.
        source: the checkpoint, for the message.

    Raises:
        InputError: if this version does not have it.
    """
    if rule not in (RULE, ALL_VOXELS):
        raise InputError(
            f"{source} was trained with images scaled by {rule}; this version has {RULE} and {ALL_VOXELS}"
        )
    return rule


def check_image(volume: Volume) -> None:
    """Checks by its type and axes that a volume can be an image, without reading it.

    Args:
        volume: opened.

    Raises:
        InputError: if it cannot.
    """
    kind = volume.address.keys.get("kind", "image")
    if kind != "image":
        raise InputError(f"{volume.address}: kind={kind}, but an image is needed; leave it out")
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


def measure(volume: Volume, rule: Mapping[str, Any] = RULE) -> Normalization:
    """Measures a volume's percentiles in blocks spread over it; logs which voxels are left out as no tissue.

    The places of the blocks depend only on the volume's size, so that a resumed run sees the same contrast.

    Args:
        volume: an image.
        rule: `RULE`, or `ALL_VOXELS` for a checkpoint that was trained with it.

    Raises:
        InputError: if the volume cannot be an image (wrong type, labels, NaN, no contrast), or the rule is unknown.
    """
    if rule not in (RULE, ALL_VOXELS):
        raise InputError(f"images are scaled by {RULE}, or {ALL_VOXELS}, not by {dict(rule)}")
    check_image(volume)
    try:
        boxes = _boxes(volume)
        # In parallel, so that the waits for a server or a codec overlap.
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            blocks = list(threads.map(volume.read, boxes))
    except (ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{volume.name} cannot be read: {reason(error)}") from error
    values = np.concatenate([block.ravel() for block in blocks])
    if volume.dtype.kind == "f":
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
    if "kind" not in volume.address.keys:
        _refuse_labels(volume, blocks)
    if rule == ALL_VOXELS:
        low, high = (float(v) for v in np.percentile(values, PERCENTILES))
        if low == high:
            # Almost all voxels are padding of one value; give the rest some contrast.
            low, high = float(values.min()), float(values.max())
        return Normalization(low, high)
    found = grey_range(blocks, boxes, volume.size, volume.read)
    if found.remark:
        logging.warning(
            "%s: %s; black is %g, white %g", volume.name, found.remark, found.low, found.high
        )
    return Normalization(found.low, found.high)


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


def _boxes(volume: Volume) -> list[Box]:
    size = tuple(map(min, _SAMPLE_SIZE, volume.size))
    rng = np.random.Generator(np.random.Philox(key=[0, 0]))
    room = [n - s + 1 for n, s in zip(volume.size, size, strict=True)]
    starts = [tuple(int(rng.integers(r)) for r in room) for _ in range(_SAMPLES)]
    return [Box(start, size) for start in dict.fromkeys(starts)]
