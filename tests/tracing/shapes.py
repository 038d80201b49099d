"""Synthetic neurites whose middle lines are known."""

from __future__ import annotations

import numpy as np


def tube(
    shape: tuple[int, int, int],
    start: tuple[float, float, float],
    stop: tuple[float, float, float],
    radius: float,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """A straight tube with flat ends, `[z, y, x]` bool; its ends in voxels, its radius in the unit of the spacing."""
    grid = np.stack(np.indices(shape), axis=-1) * spacing
    a, b = np.multiply(start, spacing), np.multiply(stop, spacing)
    along = ((grid - a) @ (b - a)) / ((b - a) @ (b - a))
    off = np.linalg.norm(grid - a - along[..., None] * (b - a), axis=-1)
    return (off <= radius) & (along >= 0) & (along <= 1)


def ring(
    shape: tuple[int, int, int], middle: tuple[float, float, float], size: float, radius: float
) -> np.ndarray:
    """A ring in a section, `[z, y, x]` bool."""
    z, y, x = (axis - at for axis, at in zip(np.indices(shape), middle, strict=True))
    return np.hypot(np.hypot(y, x) - size, z) <= radius


def distance_to_lines(points: np.ndarray, lines: list[tuple[tuple, tuple]]) -> np.ndarray:
    """Distance of points `[n, 3]` from the nearest of straight lines between two ends."""
    found = np.full(len(points), np.inf)
    for start, stop in lines:
        a, b = np.asarray(start, float), np.asarray(stop, float)
        share = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        found = np.minimum(found, np.linalg.norm(points - a - share[:, None] * (b - a), axis=1))
    return found
