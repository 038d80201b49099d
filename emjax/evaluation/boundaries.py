"""Scores how many boundaries between objects were found, within a tolerance.

Boundaries tell more than overlap does where objects are thin, and less than VOI does where one hole in a membrane
merges two objects.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from emjax.geometry.sizes import Size, Triple

# Relative rounding error of distances that are compared with the tolerance, since 3 * 0.1 is not exactly 0.3.
_ROUNDING = 1e-9


class BoundaryCounts(NamedTuple):
    """Numbers of voxels at boundaries.

    Attributes:
        found: voxels at boundaries of the segmentation.
        right: those of `found` that are near a boundary of the truth.
        true: voxels at boundaries of the truth.
        recalled: those of `true` that are near a boundary of the segmentation.
    """

    found: int = 0
    right: int = 0
    true: int = 0
    recalled: int = 0

    @classmethod
    def total(cls, parts: Iterable[BoundaryCounts]) -> BoundaryCounts:
        """Returns the sum over parts of a volume."""
        return cls(*(sum(column) for column in zip(cls(), *parts, strict=True)))

    def scores(self) -> dict[str, float]:
        """Returns `boundary_precision`, `boundary_recall`, `boundary_f1`, as far as they are defined.

        If only one of segmentation and truth has boundaries, F1 is 0.
        """
        scores = {}
        if self.found:
            scores["boundary_precision"] = self.right / self.found
        if self.true:
            scores["boundary_recall"] = self.recalled / self.true
        if self.found or self.true:
            both = self.right * self.true + self.recalled * self.found
            scores["boundary_f1"] = 2 * self.right * self.recalled / both if both else 0.0
        return scores


class BoundaryTolerance:
    """Counts boundary voxels that have a boundary of the other volume within a tolerance.

    Args:
        tolerance: largest distance that is near, in the unit of `voxel_size`.
        voxel_size: (z, y, x) size of a voxel, nm, or (1, 1, 1) to count in voxels.
        in_sections: whether only boundaries and distances within sections count, as annotators of anisotropic volumes
            draw them; otherwise those between sections count, too.

    Attributes:
        halo: (z, y, x) voxels that have to be read around a block.
    """

    def __init__(self, tolerance: float, voxel_size: Triple, in_sections: bool) -> None:
        self.in_sections = in_sections
        reach = [math.floor(tolerance / size + _ROUNDING) for size in voxel_size]
        if in_sections:
            reach[0] = 0
        self._offsets = [
            offset
            for offset in itertools.product(*(range(-r, r + 1) for r in reach))
            if math.dist((0, 0, 0), [o * s for o, s in zip(offset, voxel_size, strict=True)])
            <= tolerance * (1 + _ROUNDING)
        ]
        # One voxel more, since a voxel's neighbour decides whether it is at a boundary.
        self.halo: Size = tuple(
            0 if in_sections and axis == 0 else reach[axis] + 1 for axis in range(3)
        )

    def count(
        self,
        labels: np.ndarray,
        segmentation: np.ndarray,
        known: np.ndarray,
        core: tuple[slice, ...],
    ) -> BoundaryCounts:
        """Counts the voxels at boundaries in a block.

        Args:
            labels: `[z, y, x]` integers, the truth, in the block and its halo.
            segmentation: `[z, y, x]` integers.
            known: `[z, y, x]` bool; both voxels beside a boundary must be known.
            core: slices of the block in these arrays.
        """
        true = find_boundaries(labels, known, self.in_sections)
        found = find_boundaries(segmentation, known, self.in_sections)
        near_true, near_found = self._widen(true)[core], self._widen(found)[core]
        true, found = true[core], found[core]
        counts = (found, found & near_true, true, true & near_found)
        return BoundaryCounts(*(int(np.count_nonzero(mask)) for mask in counts))

    def _widen(self, mask: np.ndarray) -> np.ndarray:
        wide = np.zeros_like(mask)
        for offset in self._offsets:
            if all(abs(o) < n for o, n in zip(offset, mask.shape, strict=True)):
                here = tuple(
                    slice(max(o, 0), n + min(o, 0)) for o, n in zip(offset, mask.shape, strict=True)
                )
                there = tuple(
                    slice(max(-o, 0), n - max(o, 0))
                    for o, n in zip(offset, mask.shape, strict=True)
                )
                wide[here] |= mask[there]
        return wide


def find_boundaries(ids: np.ndarray, known: np.ndarray, in_sections: bool) -> np.ndarray:
    """Marks the voxels on both sides of every face between two ids, background included.

    Args:
        ids: `[z, y, x]` integers.
        known: `[z, y, x]` bool; faces of other voxels do not count.
        in_sections: whether to leave out faces between sections.

    Returns:
        `[z, y, x]` bool, True at boundaries.
    """
    found = np.zeros(ids.shape, bool)
    for axis in range(int(in_sections), 3):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        differs = (ids[low] != ids[high]) & known[low] & known[high]
        found[low] |= differs
        found[high] |= differs
    return found
