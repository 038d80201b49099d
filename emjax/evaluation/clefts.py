"""CREMI's score of synaptic clefts: distances of found voxels to the truth, and of true voxels to the found clefts.

The distances equal those of an exact Euclidean distance transform of the whole volume, while only one block of voxels
is in memory: the surfaces of both masks are collected first, and each block then finds the nearest surface voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

from emjax.geometry.sizes import Size, Triple

# Distances are added up as whole numbers of this unit, nm, so that the order of addition does not change the sum.
_QUANTUM_NM = 2.0**-20


class Distances(NamedTuple):
    """The sum of the distances of voxels.

    Attributes:
        quanta: sum of the distances, in units of 2^-20 nm.
        voxels: number of voxels.
    """

    quanta: int = 0
    voxels: int = 0

    @classmethod
    def total(cls, parts: Iterable[Distances]) -> Distances:
        """Returns the sum over parts of a volume."""
        parts = list(parts)
        return cls(sum(part.quanta for part in parts), sum(part.voxels for part in parts))

    def to_array(self) -> np.ndarray:
        """Returns `[3]` int64: `quanta` >> 32, the lower 32 bits of `quanta` (which may exceed 64 bits), `voxels`."""
        return np.asarray([self.quanta >> 32, self.quanta & 0xFFFFFFFF, self.voxels], np.int64)

    @classmethod
    def from_array(cls, array: np.ndarray) -> Distances:
        """Makes the sum from what `to_array` returned."""
        upper, lower, voxels = array.tolist()
        return cls((upper << 32) + lower, voxels)

    @property
    def mean_nm(self) -> float | None:
        """Mean distance, nm; None if there are no voxels."""
        return self.quanta * _QUANTUM_NM / self.voxels if self.voxels else None


class Nearest:
    """Measures distances from voxels to a mask.

    Args:
        surfaces: `[n, 3]` surface voxels of each part of the mask, as `surface` returns them.
        voxel_nm: (z, y, x) voxel size, nm.
    """

    def __init__(self, surfaces: Iterable[np.ndarray], voxel_nm: Triple) -> None:
        self._points = np.concatenate([np.zeros((0, 3), np.int64), *surfaces])
        self._voxel_nm = np.asarray(voxel_nm, np.float64)
        self._tree = cKDTree(self._points * self._voxel_nm) if len(self._points) else None

    def measure(self, mask: np.ndarray, own: np.ndarray, start: Size) -> Distances:
        """Adds up the distances of voxels to the mask.

        Args:
            mask: `[z, y, x]` bool, the voxels whose distances are measured.
            own: `[z, y, x]` bool, the mask they are measured to, in the same block; a voxel in both is 0 nm away.
            start: (z, y, x) of the block's first voxel.

        Returns:
            The sum; without any voxels if the mask is empty everywhere, since there is no distance then.
        """
        if self._tree is None:
            return Distances()
        outside = np.argwhere(mask & ~own) + np.asarray(start)
        if not len(outside):
            return Distances(0, int(mask.sum()))
        _, nearest = self._tree.query(outside * self._voxel_nm)
        # Computed from whole steps, so that of several voxels equally near each gives exactly the same distance.
        steps = np.abs(outside - self._points[nearest])
        distances = np.sqrt(((steps * self._voxel_nm) ** 2).sum(axis=1))
        quanta = np.rint(distances / _QUANTUM_NM).astype(np.int64)
        return Distances(sum(int(part.sum()) for part in _parts(quanta)), int(mask.sum()))


def surface(mask: np.ndarray, start: Size = (0, 0, 0)) -> np.ndarray:
    """Returns the voxels of a mask that have a face neighbour outside of it.

    The voxel of a mask that is nearest to a voxel outside is one of them. Mask voxels at the border of the array are
    included, since what lies beyond is unknown; they do not change any distance.

    Args:
        mask: `[z, y, x]` bool.
        start: (z, y, x) of the array's first voxel.

    Returns:
        `[n, 3]` int64 z, y, x of the surface voxels.
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
        `adgt_nm`: mean distance of found voxels to the ground truth, which false alarms raise. `adf_nm`: mean distance
        of true voxels to the found clefts, which misses raise. `cremi_cleft`: the mean of both. Lower is better; empty
        if one of the masks is empty, since there is no distance then.

    Source: cremi.org/metrics and cremi_python, `Clefts.acc_false_positives` and `acc_false_negatives` (means of a
    distance transform at `sampling=resolution`); the leaderboard calls them ADGT and ADF.
    """
    adgt, adf = found_to_truth.mean_nm, truth_to_found.mean_nm
    if adgt is None or adf is None:
        return {}
    return {"adgt_nm": adgt, "adf_nm": adf, "cremi_cleft": (adgt + adf) / 2}


def _parts(quanta: np.ndarray) -> list[np.ndarray]:
    """Cuts an array into parts whose sums fit into an int64."""
    most = max(int(quanta.max()), 1)
    return np.array_split(quanta, math.ceil(len(quanta) * most / 2**62))
