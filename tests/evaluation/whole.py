"""Scores of masks that are in memory, as blocks make them together."""

from __future__ import annotations

import numpy as np

from emjax.evaluation.clefts import Nearest, cleft_scores, surface
from emjax.geometry.sizes import Triple


def score_clefts(truth: np.ndarray, found: np.ndarray, voxel_nm: Triple) -> dict[str, float]:
    """Scores masks that are in memory; see `cleft_scores`.

    Args:
        truth: `[z, y, x]` bool.
        found: `[z, y, x]` bool.
        voxel_nm: (z, y, x) voxel size, nm.
    """
    origin = (0, 0, 0)
    to_truth = Nearest([surface(truth)], voxel_nm).measure(found, truth, origin)
    to_found = Nearest([surface(found)], voxel_nm).measure(truth, found, origin)
    return cleft_scores(to_truth, to_found)
