"""Resamples learned positions of image patches to another grid, as the networks from which they come do."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from emjax.weights.resampling import cubic_matrix


def resample_positions(places: jax.Array, grid: tuple[int, int], resampling: str) -> jax.Array:
    """Resamples positions bicubically.

    Args:
        places: `[h, w, d]` learned positions.
        grid: requested rows and columns.
        resampling: a name in `RESAMPLINGS`.

    Returns:
        `[*grid, d]`; `places` itself if it already has this grid.
    """
    if grid == places.shape[:2]:
        return places
    rows, columns = (
        jnp.asarray(cubic_matrix(size, wanted, resampling))
        for size, wanted in zip(places.shape[:2], grid, strict=True)
    )
    return jnp.einsum("ah,bw,hwd->abd", rows, columns, places)
