"""CREMI's score of synaptic clefts: how far found voxels lie from the truth, and true voxels from what was found.

The distances are those of an exact Euclidean distance transform of the whole volume, but of no volume is more than a
block in memory: the surface of each mask is collected first, and each block then asks for its nearest voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from emjax.geometry.sizes import Size, Triple

# Distances are added up as whole numbers of this many nm, so that no order of adding changes the sum.
_QUANTUM_NM = 2.0**-20


class Distances(NamedTuple):
    """Distances of voxels, added up.

    Attributes:
        quanta: their sum, in units of 2^-20 nm.
        voxels: how many there are.
    """

    quanta: int = 0
    voxels: int = 0

    @classmethod
    def total(cls, parts: Iterable[Distances]) -> Distances:
        """Adds up parts of a volume."""
        parts = list(parts)
        return cls(sum(part.quanta for part in parts), sum(part.voxels for part in parts))

    def to_array(self) -> np.ndarray:
        """Returns `[3]` int64: the upper and the lower 32 bits of the sum, which may be longer than 64, and voxels."""
        return np.asarray([self.quanta >> 32, self.quanta & 0xFFFFFFFF, self.voxels], np.int64)

    @classmethod
    def from_array(cls, array: np.ndarray) -> Distances:
        """Returns what `to_array` was given."""
        upper, lower, voxels = array.tolist()
        return cls((upper << 32) + lower, voxels)

    @property
    def mean_nm(self) -> float | None:
        """Mean distance, nm; None where there is no voxel."""
        return self.quanta * _QUANTUM_NM / self.voxels if self.voxels else None


class Nearest:
    """Finds how far voxels are from a mask.

    Args:
        surfaces: `[n, 3]` voxels of each part of the mask, as `surface` returns them.
        voxel_nm: (z, y, x) voxel size, nm.
    """

    def __init__(self, surfaces: Iterable[np.ndarray], voxel_nm: Triple) -> None:
        self._points = np.concatenate([np.zeros((0, 3), np.int64), *surfaces])
        self._voxel_nm = np.asarray(voxel_nm, np.float64)
        self._tree = cKDTree(self._points * self._voxel_nm) if len(self._points) else None

    def measure(self, mask: np.ndarray, own: np.ndarray, start: Size) -> Distances:
        """Adds up the distances of voxels to the mask that this was made of.

        Args:
            mask: `[z, y, x]` bool, the voxels that are measured.
            own: `[z, y, x]` bool, this mask in the same block; a voxel in both is 0 nm away.
            start: (z, y, x) of the block.

        Returns:
            The sum; none where the mask has no voxel anywhere, for then there is no distance.
        """
        if self._tree is None:
            return Distances()
        outside = np.argwhere(mask & ~own) + np.asarray(start)
        if not len(outside):
            return Distances(0, int(mask.sum()))
        _, nearest = self._tree.query(outside * self._voxel_nm)
        # From whole steps: of two voxels equally near, whichever was found gives the same distance.
        steps = np.abs(outside - self._points[nearest])
        distances = np.sqrt(((steps * self._voxel_nm) ** 2).sum(axis=1))
        quanta = np.rint(distances / _QUANTUM_NM).astype(np.int64)
        return Distances(sum(int(part.sum()) for part in _parts(quanta)), int(mask.sum()))


def surface(mask: np.ndarray, start: Size = (0, 0, 0)) -> np.ndarray:
    """Returns the voxels of a mask that have a face neighbour outside of it.

    The nearest voxel of a mask is one of them. Those at the border of the array are among them, too: what lies beyond
    is not known here, and they do no harm.

    Args:
        mask: `[z, y, x]` bool.
        start: (z, y, x) of its first voxel.

    Returns:
        `[n, 3]` int64 z, y, x.
    """
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(3):
        for step in (-1, 1):
            inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return np.argwhere(mask & ~inner) + np.asarray(start)


def cleft_scores(found_to_truth: Distances, truth_to_found: Distances) -> dict[str, float]:
    """Returns CREMI's scores of clefts.

    Args:
        found_to_truth: distances of found voxels to the nearest true one.
        truth_to_found: distances of true voxels to the nearest found one.

    Returns:
        `adgt_nm`: average distance to ground truth, of every found voxel: false alarms cost here. `adf_nm`: average
        distance to what was found, of every true voxel: misses cost here. `cremi_cleft`: their mean. Lower is better;
        absent where one of the masks is empty, for then there is no distance.

    Source: cremi.org/metrics and cremi_python, `Clefts.acc_false_positives` and `acc_false_negatives` (means of a
    distance transform at `sampling=resolution`); the leaderboard calls them ADGT and ADF.
    """
    adgt, adf = found_to_truth.mean_nm, truth_to_found.mean_nm
    if adgt is None or adf is None:
        return {}
    return {"adgt_nm": adgt, "adf_nm": adf, "cremi_cleft": (adgt + adf) / 2}


def _parts(quanta: np.ndarray) -> list[np.ndarray]:
    """Cuts an array so that no part's sum exceeds an int64."""
    most = max(int(quanta.max()), 1)
    return np.array_split(quanta, math.ceil(len(quanta) * most / 2**62))
