"""Tokens of the two views: their positions, the positions of their twins, and how features are read there.

Spatial tokens are positions. The same positions of the first view are queried in every crop of the global batch, so
that "the same index in other crops" is among the negatives; the twin of a position is found through its true
coordinate in the window from which both views were cut, never through its index. Therefore a code of the position
alone, without a look at the image, matches nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from emjax.augment.views import View, from_window, to_window, valid_at
from emjax.geometry.sizes import Size
from emjax.losses.tokens import sample_features


class PointPairs(NamedTuple):
    """Positions of the same tissue in two views, in voxels of each view.

    Attributes:
        first: `[b, n, 3]` positions in the first view, z y x.
        second: `[b, n, 3]` positions of the same tissue in the second view.
        valid: `[b, n]` bool; False where one view destroyed the tissue, or the second does not contain it.
    """

    first: jax.Array
    second: jax.Array
    valid: jax.Array


def grid_positions(crop_size: Size, stride: Size) -> jax.Array:
    """Returns the centres of a level's cells, in voxels of the view.

    Args:
        crop_size: (z, y, x) voxels of the view.
        stride: (z, y, x) voxels of the view per cell of the level.

    Returns:
        `[cells, 3]` float32, z y x.
    """
    axes = [
        (jnp.arange(size // step, dtype=jnp.float32) + 0.5) * step - 0.5
        for size, step in zip(crop_size, stride, strict=True)
    ]
    return jnp.stack([a.ravel() for a in jnp.meshgrid(*axes, indexing="ij")], axis=-1)


def choose_positions(key: jax.Array, count: int, crop_size: Size, stride: Size) -> jax.Array:
    """Draws distinct cells of a level, the same for every crop of the batch.

    Args:
        key: typed PRNG key.
        count: number of cells to draw; all cells are taken if the level has fewer.
        crop_size: (z, y, x) voxels of the view.
        stride: (z, y, x) voxels per cell.

    Returns:
        `[n, 3]` float32 positions in voxels of the view, n = min(count, cells).
    """
    grid = grid_positions(crop_size, stride)
    order = jax.random.permutation(key, grid.shape[0])
    return grid[order[: min(count, grid.shape[0])]]


def pair_points(first: View, second: View, points: jax.Array) -> PointPairs:
    """Finds the tissue of the first view's points in the second view.

    Args:
        first: views with a leading batch axis.
        second: the other views of the same windows.
        points: `[n, 3]` (the same in all crops) or `[b, n, 3]` positions in the first view.
    """
    batch = first.matrix.shape[0]
    if points.ndim == 2:
        points = jnp.broadcast_to(points, (batch, *points.shape))
    tissue = jax.vmap(to_window)(first, points)
    positions, valid = jax.vmap(from_window)(second, tissue)
    # A place that the first view destroyed shows nothing that could be recognised.
    return PointPairs(points, positions, valid & jax.vmap(valid_at)(first, points))


def read_level(level: jax.Array, points: jax.Array, stride: Size) -> jax.Array:
    """Reads a pyramid level at positions of the view, by linear interpolation.

    Args:
        level: `[b, z, y, x, c]` features.
        points: `[b, n, 3]` positions in voxels of the view.
        stride: (z, y, x) voxels of the view per cell of the level.

    Returns:
        `[b, n, c]` float32.
    """
    step = jnp.asarray(stride, jnp.float32)
    return jax.vmap(sample_features)(level.astype(jnp.float32), (points + 0.5) / step - 0.5)
