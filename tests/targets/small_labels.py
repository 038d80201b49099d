"""Objects for the tests of distances, and their distances by another library."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

SPACINGS = [(1.0, 1.0, 1.0), (10.0, 1.5, 1.0), (40.0, 4.0, 4.5)]


def blocks(seed: int, shape=(6, 16, 18), ids=5) -> np.ndarray:
    """Objects in background, some of them in several pieces."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, ids, [-(-n // m) for n, m in zip(shape, (2, 4, 3), strict=True)])
    fine = np.kron(coarse, np.ones((2, 4, 3), int))
    return fine[: shape[0], : shape[1], : shape[2]].astype(np.int32)


def by_scipy(labels: np.ndarray, spacing, plane: bool = False) -> np.ndarray:
    """Each label on its own: distance to the nearest voxel that is not it."""
    if plane:
        return np.stack([by_scipy(s[None], spacing)[0] for s in labels])
    out = np.zeros(labels.shape)
    for label in np.unique(labels):
        own = labels == label
        out[own] = np.inf if own.all() else distance_transform_edt(own, spacing)[own]
    return out
