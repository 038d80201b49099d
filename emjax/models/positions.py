"""Learned positions of image patches, resampled to another grid as the networks that they come from do it.

The resampling is linear: one matrix for each axis, made by numpy from the two sizes.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

# 'exact': cubic with a = -0.75 between cell centres (DINOv2 in the transformers library). 'offset': the same with
# sizes made larger by 0.1 before the ratio is taken, as DINO and DINOv2 do against rounding. 'antialias': cubic with
# a = -0.5, widened where the grid becomes coarser (DINOv2 with registers, timm, MAE).
RESAMPLINGS = ("exact", "offset", "antialias")


def resample_positions(places: jax.Array, grid: tuple[int, int], resampling: str) -> jax.Array:
    """Resamples positions bicubically.

    Args:
        places: `[h, w, d]`.
        grid: rows and columns that are wanted.
        resampling: one of `RESAMPLINGS`.

    Returns:
        `[*grid, d]`; `places` itself where the grid is its own.
    """
    if grid == places.shape[:2]:
        return places
    rows, columns = (
        jnp.asarray(cubic_matrix(size, wanted, resampling))
        for size, wanted in zip(places.shape[:2], grid, strict=True)
    )
    return jnp.einsum("ah,bw,hwd->abd", rows, columns, places)


@functools.cache
def cubic_matrix(size: int, wanted: int, resampling: str) -> np.ndarray:
    """Returns what each wanted cell takes of each given one.

    Args:
        size: cells that there are.
        wanted: cells to make of them.
        resampling: one of `RESAMPLINGS`.

    Returns:
        `[wanted, size]` float32; rows add up to 1.
    """
    ratio = size / (wanted + 0.1 * (resampling == "offset"))
    centres = (np.arange(wanted) + 0.5) * ratio - 0.5
    if resampling == "antialias":
        width = max(ratio, 1.0)
        weights = _cubic((np.arange(size)[None] - centres[:, None]) / width, -0.5)
        # What lies beyond the ends is left out, and the rest made one again.
        return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    matrix = np.zeros((wanted, size))
    first = np.floor(centres).astype(int)
    for tap in range(-1, 3):
        # Beyond the ends the outermost cell stands in.
        cells = np.clip(first + tap, 0, size - 1)
        np.add.at(matrix, (np.arange(wanted), cells), _cubic(centres - (first + tap), -0.75))
    return matrix.astype(np.float32)


def linear_matrix(size: int, wanted: int) -> np.ndarray:
    """Returns the same for a linear interpolation between cell centres, whose outermost cells stand in beyond."""
    centres = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(np.arange(size)[None] - centres[:, None])).astype(np.float32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel of Keys (1981)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
