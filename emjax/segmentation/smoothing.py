"""Gaussian smoothing by loops over whole rows: the bits of `scipy.ndimage.gaussian_filter`, faster."""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled

# Weights further away than this many standard deviations are left out.
_TRUNCATE = 4.0


def smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Returns an array, smoothed by a Gaussian along all axes; beyond its borders it is mirrored.

    Args:
        values: `[y, x]` or `[z, y, x]` float32.
        sigma: standard deviation, voxels, above 0.

    Returns:
        float32 of the same shape.
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    steps = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * steps**2)
    # From the middle of the window to its end.
    weights = (weights / weights.sum())[radius:]
    found = np.ascontiguousarray(values, np.float32)
    for axis in range(found.ndim):
        columns = int(np.prod(found.shape[axis + 1 :]))
        smoothed = np.empty_like(found)
        shape = (-1, found.shape[axis], columns)
        if columns == 1:
            _within_rows(found.reshape(shape[:2]), weights, smoothed.reshape(shape[:2]))
        else:
            _across_rows(found.reshape(shape), weights, smoothed.reshape(shape))
        found = smoothed
    return found


@compiled
def _mirrored(i, n):
    """Returns the index below n that an index stands for, where rows are mirrored at their ends."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


@compiled
def _across_rows(values, weights, smoothed):
    """Smooths `[a, n, b]` along its second axis."""
    parts, rows, columns = values.shape
    total = np.empty(columns, np.float64)
    for part in range(parts):
        for y in range(rows):
            row = values[part, y]
            for x in range(columns):
                total[x] = row[x] * weights[0]
            for step in range(len(weights) - 1, 0, -1):
                before = values[part, _mirrored(y - step, rows)]
                after = values[part, _mirrored(y + step, rows)]
                weight = weights[step]
                for x in range(columns):
                    total[x] += (np.float64(before[x]) + np.float64(after[x])) * weight
            for x in range(columns):
                smoothed[part, y, x] = total[x]


@compiled
def _within_rows(values, weights, smoothed):
    """Smooths `[a, n]` along its second axis."""
    rows, columns = values.shape
    radius = len(weights) - 1
    row = np.empty(columns + 2 * radius, np.float64)
    total = np.empty(columns, np.float64)
    for y in range(rows):
        for x in range(columns):
            row[radius + x] = values[y, x]
        for x in range(radius):
            row[x] = values[y, _mirrored(x - radius, columns)]
            row[radius + columns + x] = values[y, _mirrored(columns + x, columns)]
        middle = row[radius : radius + columns]
        for x in range(columns):
            total[x] = middle[x] * weights[0]
        for step in range(radius, 0, -1):
            weight = weights[step]
            before = row[radius - step : radius - step + columns]
            after = row[radius + step : radius + step + columns]
            for x in range(columns):
                total[x] += (before[x] + after[x]) * weight
        for x in range(columns):
            smoothed[y, x] = total[x]
