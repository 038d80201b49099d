"""Downsamples voxels: the mean for an image, the most frequent id for labels."""

from __future__ import annotations

import math

import numpy as np

from emjax.compiled import compiled
from emjax.geometry.sizes import Size

MEAN, MODE = "mean", "mode"


def pool(voxels: np.ndarray, factor: Size, method: str) -> np.ndarray:
    """Makes one voxel from each window of voxels; windows at the far edges may be smaller.

    Args:
        voxels: `[z, y, x]` or `[c, z, y, x]` of any size. A mean needs integers of at most 32 bits, or floats.
        factor: (z, y, x) voxels of a window.
        method: 'mean': exact; for integers rounded to the nearest, halves to the even one. 'mode': the most frequent
            value, or the smallest of several: ids are only compared, never computed with, so that all 64 bits are
            kept.

    Returns:
        `[..., z, y, x]` of the same type, each axis a factor shorter, rounded up.
    """
    size = tuple(-(-n // f) for n, f in zip(voxels.shape[-3:], factor, strict=True))
    if math.prod(factor) == 1:
        return voxels
    dtype = voxels.dtype
    source = np.ascontiguousarray(voxels)
    if dtype.kind == "b":
        source = source.view(np.uint8)
    # numba has no float16. Floats of any size are summed in 64 bits, and rounded once.
    source = source.astype(np.float32) if dtype == np.float16 else source
    whole = method == MODE or dtype.kind != "f"
    pooled = np.empty((*voxels.shape[:-3], *size), source.dtype if whole else np.float64)
    if method == MODE:
        kernel = _pool_mode
    else:
        kernel = _pool_integers if whole else _pool_floats
    parts = zip(_channels(source), _channels(pooled), strict=True)
    for part, out in parts:
        kernel(part, *factor, out)
    return pooled.view(bool) if dtype.kind == "b" else pooled.astype(dtype, copy=False)


def _channels(voxels: np.ndarray) -> np.ndarray:
    return voxels if voxels.ndim == 4 else voxels[None]


@compiled
def _pool_integers(voxels, depth, rows, columns, out):
    """Means rounded half to even; the sum of a window fits 64 bits."""
    for z in range(out.shape[0]):
        z_end = min((z + 1) * depth, voxels.shape[0])
        for y in range(out.shape[1]):
            y_end = min((y + 1) * rows, voxels.shape[1])
            for x in range(out.shape[2]):
                x_end = min((x + 1) * columns, voxels.shape[2])
                total = 0
                for i in range(z * depth, z_end):
                    for j in range(y * rows, y_end):
                        for k in range(x * columns, x_end):
                            total += np.int64(voxels[i, j, k])
                count = (z_end - z * depth) * (y_end - y * rows) * (x_end - x * columns)
                mean = total // count
                twice = 2 * (total - mean * count)
                if twice > count or (twice == count and mean % 2 == 1):
                    mean += 1
                out[z, y, x] = mean


@compiled
def _pool_floats(voxels, depth, rows, columns, out):
    for z in range(out.shape[0]):
        z_end = min((z + 1) * depth, voxels.shape[0])
        for y in range(out.shape[1]):
            y_end = min((y + 1) * rows, voxels.shape[1])
            for x in range(out.shape[2]):
                x_end = min((x + 1) * columns, voxels.shape[2])
                total = 0.0
                for i in range(z * depth, z_end):
                    for j in range(y * rows, y_end):
                        for k in range(x * columns, x_end):
                            total += np.float64(voxels[i, j, k])
                count = (z_end - z * depth) * (y_end - y * rows) * (x_end - x * columns)
                out[z, y, x] = total / count


@compiled
def _pool_mode(voxels, depth, rows, columns, out):
    window = np.empty(depth * rows * columns, voxels.dtype)
    for z in range(out.shape[0]):
        z_end = min((z + 1) * depth, voxels.shape[0])
        for y in range(out.shape[1]):
            y_end = min((y + 1) * rows, voxels.shape[1])
            for x in range(out.shape[2]):
                x_end = min((x + 1) * columns, voxels.shape[2])
                count = 0
                equal = True
                for i in range(z * depth, z_end):
                    for j in range(y * rows, y_end):
                        for k in range(x * columns, x_end):
                            window[count] = voxels[i, j, k]
                            equal = equal and window[count] == window[0]
                            count += 1
                best = window[0]
                # Within an object, hence in most windows, all voxels are equal and nothing has to be counted.
                if not equal:
                    most = 0
                    for a in range(count):
                        times = 0
                        for b in range(count):
                            if window[b] == window[a]:
                                times += 1
                        if times > most or (times == most and window[a] < best):
                            most = times
                            best = window[a]
                out[z, y, x] = best
