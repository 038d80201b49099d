"""The score of the CREMI challenge for neurons: the geometric mean of variation of information and Rand error.

It differs from the mean of this package's `voi` and `arand`: voxels near the borders that annotators drew are left out,
since nobody draws a border twice in the same place, and the Rand error counts voxels without a segment differently.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import ndimage

from emjax.evaluation.contingency import Contingency
from emjax.evaluation.partition import variation_of_information
from emjax.geometry.sizes import Size, Triple

# Relative rounding error of distances that are compared with the threshold, since 3 * 0.1 is not exactly 0.3.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class CremiBorders:
    """The rule which voxels are too near a border of the truth to be scored.

    Attributes:
        threshold_nm: voxels at this distance from a border or nearer are left out, nm; 0: none is left out.
        voxel_nm: (z, y, x) voxel size, nm.
    """

    threshold_nm: float
    voxel_nm: Triple

    @property
    def halo(self) -> Size:
        """Number of voxels (z, y, x) that have to be read around a block."""
        if not self.threshold_nm:
            return (0, 0, 0)
        # One voxel more, since a voxel's neighbour decides whether it is at a border.
        y, x = (math.floor(self.threshold_nm / nm + _ROUNDING) + 1 for nm in self.voxel_nm[1:])
        return (0, y, x)

    def far(self, labels: np.ndarray) -> np.ndarray:
        """Returns which voxels are farther than the threshold from all borders in their section.

        Args:
            labels: `[z, y, x]` ids of the truth as they are stored: ignored areas and background have borders, too. The
                edge of the array is no border.

        Returns:
            `[z, y, x]` bool.

        Source: cremi_python, `border_mask.create_border_mask_2d`.
        """
        if not self.threshold_nm:
            return np.ones(labels.shape, bool)
        inner = np.ones(labels.shape, bool)
        for axis in (1, 2):
            low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
            high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
            same = labels[low] == labels[high]
            inner[low] &= same
            inner[high] &= same
        most = self.threshold_nm * (1 + _ROUNDING)
        return np.stack([_distances_nm(s, self.voxel_nm[1:]) > most for s in inner])


def cremi_scores(table: Contingency) -> dict[str, float]:
    """Scores neurons as the CREMI challenge does.

    Args:
        table: table of the voxels far from borders, without the background of the truth, which is not scored.

    Returns:
        `cremi_score` and its parts: `cremi_voi_split` and `cremi_voi_merge`, bits, for which segment 0 is one segment,
        and `cremi_rand`, for which each voxel of segment 0 is a segment of its own. Lower is better. Empty if no voxel
        was counted.

    Source: cremi.org/metrics and cremi_python, `NeuronIds`, `voi.voi` and `rand.adapted_rand_error`, which has the
    formula of SNEMI3D's script. It adds the voxels of segment 0 as their share of the volume instead of their number;
    so does this function, to give the same scores.
    """
    if not table.voxels:
        return {}
    voi = variation_of_information(table)
    found = table.segments > 0
    segments, sizes = table.segment_sizes()
    alone = int(table.counts[~found].sum()) / table.voxels
    together = _squares(table.counts[found]) + alone
    in_segments = _squares(sizes[segments > 0]) + alone
    in_labels = _squares(table.label_sizes()[1])
    rand = max(1 - 2 * together / (in_segments + in_labels), 0.0)
    return {
        "cremi_score": math.sqrt(voi["voi"] * rand),
        "cremi_voi_split": voi["voi_split"],
        "cremi_voi_merge": voi["voi_merge"],
        "cremi_rand": rand,
    }


def _distances_nm(inner: np.ndarray, pixel_nm: tuple[float, ...]) -> np.ndarray:
    """Returns the distance of each pixel of a section to the nearest border pixel, nm; infinite without borders."""
    if inner.all():
        return np.full(inner.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(inner, sampling=pixel_nm))


def _squares(counts: np.ndarray) -> float:
    return float(np.sum(counts.astype(np.float64) ** 2))
