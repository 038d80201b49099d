"""Resampling of values to another grid: one matrix for each axis, which numpy makes from the two sizes."""

from __future__ import annotations

import functools

import numpy as np

# 'exact': cubic with a = -0.75 between cell centres (DINOv2 in the transformers library). 'offset': the same, but 0.1
# is added to the sizes before their ratio is taken, as DINO and DINOv2 do against rounding. 'antialias': cubic with a =
# -0.5, widened if the grid becomes coarser (DINOv2 with registers, timm, MAE).
RESAMPLINGS = ("exact", "offset", "antialias")


@functools.cache
def cubic_matrix(size: int, wanted: int, resampling: str) -> np.ndarray:
    """Returns the weights of the given cells in each requested cell.

    Args:
        size: number of given cells.
        wanted: number of requested cells.
        resampling: a name in `RESAMPLINGS`.

    Returns:
        `[wanted, size]` float32; each row sums to 1.
    """
    ratio = size / (wanted + 0.1 * (resampling == "offset"))
    centres = (np.arange(wanted) + 0.5) * ratio - 0.5
    if resampling == "antialias":
        width = max(ratio, 1.0)
        weights = _cubic((np.arange(size)[None] - centres[:, None]) / width, -0.5)
        # Weights beyond the ends are left out, and the rest is scaled to a sum of 1.
        return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    matrix = np.zeros((wanted, size))
    first = np.floor(centres).astype(int)
    for tap in range(-1, 3):
        # Beyond the ends, the outermost cell is repeated.
        cells = np.clip(first + tap, 0, size - 1)
        np.add.at(matrix, (np.arange(wanted), cells), _cubic(centres - (first + tap), -0.75))
    return matrix.astype(np.float32)


def linear_matrix(size: int, wanted: int) -> np.ndarray:
    """Returns such weights for linear interpolation between cell centres; beyond the ends, end cells are repeated."""
    centres = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(np.arange(size)[None] - centres[:, None])).astype(np.float32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Returns the values of the cubic convolution kernel of Keys (1981)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
