"""Averages feature maps of any size to one size, for the paper's channel tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from emjax.geometry.sizes import Size


def adaptive_pool(x: jax.Array, size: Size) -> jax.Array:
    """Averages a map over windows so that it has the given size.

    For n voxels and m cells, window i is `[floor(i n / m), ceil((i + 1) n / m))`, along each axis separately.

    Args:
        x: `[b, z, y, x, c]`.
        size: (z, y, x) cells of the result.

    Returns:
        `[b, *size, c]` float32.
    """
    x = x.astype(jnp.float32)
    matrices = [pooling_matrix(n, m) for n, m in zip(x.shape[1:4], size, strict=True)]
    # The axes that are usually largest come first, so that the next steps have less to do.
    x = jnp.einsum("bzyxc,ix->bzyic", x, matrices[2])
    x = jnp.einsum("bzyxc,iy->bzixc", x, matrices[1])
    return jnp.einsum("bzyxc,iz->biyxc", x, matrices[0])


def pooling_matrix(voxels: int, cells: int) -> np.ndarray:
    """Returns `[cells, voxels]` float32 whose rows average the windows of `adaptive_pool`."""
    matrix = np.zeros((cells, voxels), np.float32)
    for i in range(cells):
        start, stop = i * voxels // cells, -(-(i + 1) * voxels // cells)
        matrix[i, start:stop] = 1.0 / (stop - start)
    return matrix
