"""Pooling that is slow and plain, to compare levels of a pyramid with."""

from __future__ import annotations

import numpy as np


def mean_windows(voxels: np.ndarray, factor: tuple[int, int, int]) -> np.ndarray:
    """Means with numpy, window by window."""
    size = [-(-n // f) for n, f in zip(voxels.shape, factor, strict=True)]
    out = np.empty(size, voxels.dtype)
    for place in np.ndindex(*size):
        box = tuple(slice(p * f, p * f + f) for p, f in zip(place, factor, strict=True))
        out[place] = np.rint(voxels[box].astype(np.float64).mean())
    return out


def mode_windows(voxels: np.ndarray, factor: tuple[int, int, int]) -> np.ndarray:
    """Most frequent values with numpy, window by window."""
    size = [-(-n // f) for n, f in zip(voxels.shape, factor, strict=True)]
    out = np.empty(size, voxels.dtype)
    for place in np.ndindex(*size):
        box = tuple(slice(p * f, p * f + f) for p, f in zip(place, factor, strict=True))
        ids, counts = np.unique(voxels[box], return_counts=True)
        out[place] = ids[counts.argmax()]
    return out
