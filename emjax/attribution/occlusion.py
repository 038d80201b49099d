"""Maps by covering parts of the input with grey.

Source: "Visualizing and Understanding Convolutional Networks" (arXiv:1311.2901).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emjax.attribution.score import Score


class SectionOcclusion(NamedTuple):
    """What covering each section changes.

    Attributes:
        score: `[b, z]`, by how much the score changes, whichever way.
        output: `[b, z]`, by how much a voxel of the output changes in the mean.
    """

    score: jax.Array
    output: jax.Array


def occlude_sections(
    forward: Callable[[jax.Array], jax.Array],
    region: jax.Array,
    channel: int,
    x: jax.Array,
    grey: float = 0.0,
) -> SectionOcclusion:
    """Covers one section after the other.

    Args:
        forward: `[b, z, y, x, 1]` -> logits `[b, z, y, x, k]`.
        region: `[b, z, y, x]` bool: of which voxels the logits are added up, and averaged over.
        channel: which of the k.
        x: `[b, z, y, x, 1]`.
        grey: what a section is covered with; the mean of the inputs.
    """
    weights = jnp.asarray(region, jnp.float32)
    before = forward(x)[..., channel]
    count = jnp.maximum(weights.sum((1, 2, 3)), 1)

    def cover(section: jax.Array) -> tuple[jax.Array, jax.Array]:
        here = (jnp.arange(x.shape[1]) == section)[None, :, None, None, None]
        change = (forward(jnp.where(here, grey, x))[..., channel] - before) * weights
        return jnp.abs(change.sum((1, 2, 3))), jnp.abs(change).sum((1, 2, 3)) / count

    score, output = jax.lax.map(cover, jnp.arange(x.shape[1]))
    return SectionOcclusion(score.T, output.T)


def occlude_patches(
    score: Score, x: jax.Array, patch: int = 16, stride: int = 8, grey: float = 0.0
) -> jax.Array:
    """Covers one square of one section after the other.

    Args:
        score: `[b, z, y, x, 1]` -> `[b]`.
        x: `[b, z, y, x, 1]`.
        patch: side of the square, pixels.
        stride: between neighbouring squares, pixels; the last of a row ends where the section does.
        grey: what it is covered with.

    Returns:
        The shape of `x`: at each voxel the mean change of the score, whichever way, over the squares that cover it; 0
        where none does.
    """
    depth, height, width = x.shape[1:4]
    corners = np.array(
        [
            (z, top, left)
            for z in range(depth)
            for top in _starts(height, patch, stride)
            for left in _starts(width, patch, stride)
        ]
    )
    before = score(x)
    z, y, w = (jnp.arange(n) for n in (depth, height, width))

    def cover(
        sums: tuple[jax.Array, jax.Array], corner: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        at, top, left = corner
        rows, columns = (y >= top) & (y < top + patch), (w >= left) & (w < left + patch)
        here = ((z == at)[:, None, None] & rows[:, None] & columns)[None, ..., None]
        change = jnp.abs(score(jnp.where(here, grey, x)) - before)
        total, count = sums
        return (total + change[:, None, None, None, None] * here, count + here), None

    empty = jnp.zeros(x.shape, jnp.float32), jnp.zeros((1, *x.shape[1:]), jnp.float32)
    (total, count), _ = jax.lax.scan(cover, empty, jnp.asarray(corners))
    return total / jnp.maximum(count, 1)


def _starts(size: int, patch: int, stride: int) -> list[int]:
    last = max(size - patch, 0)
    return sorted({*range(0, last + 1, stride), last})
