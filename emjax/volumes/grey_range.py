"""The grey values that become black and white, for pictures and for networks, from blocks spread over the volume.

Two kinds of voxels show no tissue, and would distort the contrast of the tissue if they counted:

- Padding: areas of one value (0, or the fill value of the file) that reach the border of the volume, such as the rim
  of an aligned stack, or a missing section.
- Saturation: the largest or smallest value, if it is so frequent that a percentile would land on it, and so far from
  all other values that less than half of the range would be left for the tissue.

A volume with neither gets its plain percentiles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size

PERCENTILES = (0.5, 99.5)
# Least area of padding, voxels of one section of a block; smaller areas stay in, and are too small to matter.
_LEAST_AREA = 64
# Least share of voxels in flat areas for a block to be searched for padding: noise has next to none.
_FLAT_SHARE = 0.002
# How many values of a block are tried as padding, and in how many sections each is looked for at the volume's border.
_MOST_VALUES, _MOST_SECTIONS = 4, 4
# (y, x) voxels of the pieces read there, at the corners and at the middles of the edges.
_BORDER = (8, 8)
# Areas are connected within a section only, through shared edges.
_IN_SECTIONS = np.asarray([np.zeros((3, 3)), [[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.zeros((3, 3))])


@dataclasses.dataclass(frozen=True)
class GreyRange:
    """The grey values that become black and white.

    Attributes:
        low: the grey value that becomes black.
        high: the grey value that becomes white.
        remark: which voxels were left out, for people; '' if none were.
    """

    low: float
    high: float
    remark: str = ""


def grey_range(
    blocks: Sequence[np.ndarray],
    boxes: Sequence[Box] = (),
    size: Size = (0, 0, 0),
    read: Callable[[Box], np.ndarray] | None = None,
) -> GreyRange:
    """Finds the percentiles of the voxels that are neither padding nor saturated.

    Args:
        blocks: `[z, y, x]`, or with channels before them; finite numbers.
        boxes: where each block lies in the volume.
        size: (z, y, x) of the volume.
        read: reads a box of the volume, to see whether padding reaches its border; None: nothing counts as padding.

    Returns:
        The grey range; `low` equals `high` only if all voxels have one value.
    """
    values = np.concatenate([block.ravel() for block in blocks])
    remarks = []
    kept = values
    if read is not None:
        padding = _find_padding(blocks, boxes, size, read)
        if padding:
            fills = sorted({fill for found in padding for fill in found})
            rest = [_without(b, found) for b, found in zip(blocks, padding, strict=True)]
            kept = np.concatenate(rest)
            share = 1 - kept.size / values.size
            if share:
                named = ", ".join(f"{fill:g}" for fill in fills)
                remarks.append(f"{share:.1%} are padding of {named} at its border")
    low, high = _limits(kept)
    ends = (float(kept.max()), float(kept.min())) if kept.size else ()
    for value in ends:
        # A percentile at the very smallest or largest value may be a pile of voxels far away from the rest.
        if value not in (low, high):
            continue
        others = kept[kept != value]
        inner = _limits(others)
        if max(value - inner[1], inner[0] - value) > inner[1] - inner[0] > 0:
            remarks.append(f"{1 - others.size / kept.size:.1%} are saturated at {value:g}")
            kept, (low, high) = others, inner
    if low == high:
        # Nearly all voxels have one value; the rest must still have contrast.
        return GreyRange(float(values.min()), float(values.max()))
    remark = f"of its sampled voxels, {' and '.join(remarks)}: left out" if remarks else ""
    return GreyRange(low, high, remark)


def _limits(values: np.ndarray) -> tuple[float, float]:
    if not values.size:
        return 0.0, 0.0
    low, high = (float(v) for v in np.percentile(values, PERCENTILES))
    return low, high


def _find_padding(
    blocks: Sequence[np.ndarray],
    boxes: Sequence[Box],
    size: Size,
    read: Callable[[Box], np.ndarray],
) -> list[dict[float, np.ndarray]]:
    """Returns for each block the masks of its padding, keyed by the value that fills it; [] if nothing is padding."""
    found = [_flat_areas(block) for block in blocks]
    # For each value that fills areas: section of the volume -> voxels of these areas.
    sections: dict[float, dict[int, int]] = {}
    for areas, box in zip(found, boxes, strict=True):
        for value, mask in areas.items():
            of_value = sections.setdefault(value, {})
            for z, count in enumerate(mask.sum(axis=(1, 2)).tolist(), box.start[0]):
                of_value[z] = max(of_value.get(z, 0), count)
    fills = {
        value
        for value, counts in sections.items()
        if _reaches_border(value, sorted(counts, key=lambda z: -counts[z]), size, read)
    }
    if not fills:
        return []
    return [{v: mask for v, mask in areas.items() if v in fills} for areas in found]


def _flat_areas(block: np.ndarray) -> dict[float, np.ndarray]:
    """Returns the masks of the flat areas of a block that reach its edge, keyed by the value that fills them."""
    here = block[:, :-1, :-1]
    flat = (here == block[:, :-1, 1:]) & (here == block[:, 1:, :-1])
    if np.count_nonzero(flat) <= _FLAT_SHARE * block.size:
        return {}
    values, counts = np.unique(here[flat], return_counts=True)
    often = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
    found = {}
    for value in values[often[counts[often] >= _LEAST_AREA]]:
        labelled: Any = ndimage.label(block == value, _IN_SECTIONS)
        areas, number = labelled
        counts_of = np.bincount(areas.ravel(), minlength=number + 1)
        edge = np.zeros(number + 1, bool)
        for side in (areas[:, 0], areas[:, -1], areas[:, :, 0], areas[:, :, -1]):
            edge[side.ravel()] = True
        chosen = edge & (counts_of >= _LEAST_AREA)
        chosen[0] = False
        if chosen.any():
            found[float(value)] = chosen[areas]
    return found


def _reaches_border(
    value: float, sections: Sequence[int], size: Size, read: Callable[[Box], np.ndarray]
) -> bool:
    """Whether a value fills a corner, or the middle of an edge, of one of the given sections."""
    part = tuple(map(min, _BORDER, size[1:]))
    room = [n - p for n, p in zip(size[1:], part, strict=True)]
    places = [
        (y, x)
        for y in (0, room[0] // 2, room[0])
        for x in (0, room[1] // 2, room[1])
        if (y, x) != (room[0] // 2, room[1] // 2)
    ]
    for z in sections[:_MOST_SECTIONS]:
        for y, x in dict.fromkeys(places):
            try:
                found = read(Box((z, y, x), (1, *part)))
            except (InputError, OSError):
                # A piece that cannot be read proves nothing.
                continue
            if (found == value).all():
                return True
    return False


def _without(block: np.ndarray, padding: dict[float, np.ndarray]) -> np.ndarray:
    kept = np.ones(block.shape, bool)
    for mask in padding.values():
        kept &= ~mask
    return block[kept]
