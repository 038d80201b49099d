"""Geometry of one volume: orientation, rescaling, elastic deformation, and the sampling they share.

All operations are in-plane except the flip along z: sections are the natural unit of EM, and gathers
along z are the slow ones. Shapes are static. `c(p) = p + displacement(p)` always means: the content
that is at p now was at c(p) before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Products with one-hot or interpolation weights must not lose bits to TF32 or bfloat16.
EXACT = jax.lax.Precision.HIGHEST


class Warped(NamedTuple):
    """A volume whose content was moved in-plane or destroyed.

    Attributes:
        volume: `[z, y, x]` float32 in [0, 1].
        displacement: `[z, y, x, 2]` float32 (dy, dx), voxels: the content at p was at p +
            displacement(p).
        valid: `[z, y, x]` bool, False where the content was destroyed or mirrored in from outside.
    """

    volume: jax.Array
    displacement: jax.Array
    valid: jax.Array


def happens(key: jax.Array, probability: jax.Array | float) -> jax.Array:
    """Draws whether an operator acts: never for 0, always for 1."""
    return jax.random.uniform(key) < probability


def whole_numbers(uniform: jax.Array, low: jax.Array | int, high: jax.Array | int) -> jax.Array:
    """Turns draws from [0, 1) into integers from low to high, both included.

    Splitting one uniform draw by hand compiles several times faster than many `jax.random.randint`.
    """
    return jnp.minimum(low + jnp.floor(uniform * (high - low + 1)).astype(jnp.int32), high)


def reflect_index(index: jax.Array, size: int) -> jax.Array:
    """Mirrors indices outside `[0, size)` at the border voxels, as numpy's 'reflect'."""
    if size == 1:
        return jnp.zeros_like(index)
    wrapped = jnp.mod(index, 2 * size - 2)
    return jnp.minimum(wrapped, 2 * size - 2 - wrapped)


def sample_sections(
    volume: jax.Array, y: jax.Array, x: jax.Array, *, nearest: bool = False
) -> jax.Array:
    """Reads each section at in-plane coordinates, mirrored at the border.

    Args:
        volume: `[z, y, x]` float32.
        y: `[z, i, j]` coordinates, voxels; integer coordinates are read exactly.
        x: `[z, i, j]` coordinates, voxels.
        nearest: whether to read the nearest voxel instead of the bilinear mean of four.

    Returns:
        `[z, i, j]` float32.
    """
    depth, height, width = volume.shape
    sections = volume.reshape(depth, height * width)

    def read(row: jax.Array, column: jax.Array) -> jax.Array:
        index = reflect_index(row, height) * width + reflect_index(column, width)
        flat = jnp.broadcast_to(index, (depth, *index.shape[1:])).reshape(depth, -1)
        picked = jax.vmap(lambda section, i: section.at[i].get(mode="promise_in_bounds"))(
            sections, flat
        )
        return picked.reshape(depth, *index.shape[1:])

    if nearest:
        return read(jnp.round(y).astype(jnp.int32), jnp.round(x).astype(jnp.int32))
    row, column = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    down, right = y - row, x - column
    upper = (1 - right) * read(row, column) + right * read(row, column + 1)
    lower = (1 - right) * read(row + 1, column) + right * read(row + 1, column + 1)
    return (1 - down) * upper + down * lower


def inside_section(y: jax.Array, x: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Returns whether in-plane coordinates lie between the first and the last voxel of a section."""
    return (y >= 0) & (y <= shape[1] - 1) & (x >= 0) & (x <= shape[2] - 1)


class Orientation(NamedTuple):
    """One of 16 orientations: the transpose of y and x comes first, then the flips. All scalar bool."""

    flip_z: jax.Array
    flip_y: jax.Array
    flip_x: jax.Array
    transpose: jax.Array


def draw_orientation(
    key: jax.Array,
    shape: Sequence[int],
    probability: jax.Array | float = 1.0,
    reverse_sections: bool = True,
) -> Orientation:
    """Draws uniformly among the 16 orientations (8 where y and x differ in size), or the identity.

    The 16 orientations include every quarter turn, which is a transpose and one flip.

    Args:
        key: typed PRNG key.
        shape: (z, y, x) of the volume.
        probability: probability that the orientation is drawn, and is not the identity.
        reverse_sections: whether the order of the sections may be reversed; without, half of the orientations are left.
    """
    draws = jax.random.uniform(key, (5,))
    bits = (draws[:4] < 0.5) & (draws[4] < probability)
    no = jnp.zeros((), bool)
    square = shape[1] == shape[2]
    return Orientation(
        bits[0] if reverse_sections else no, bits[1], bits[2], bits[3] if square else no
    )


def orient(volume: jax.Array, orientation: Orientation) -> jax.Array:
    """Applies an orientation to `[z, y, x, ...]` by index arithmetic and one gather.

    A chain of selects between a volume and its flip reads the volume twice at each link; XLA then fuses the operations
    that made the volume into both branches, and computes them sixteen times (measured: views took 15 times as long).
    """
    depth, height, width = volume.shape[:3]

    def places(flip: jax.Array, size: int) -> jax.Array:
        return jnp.where(flip, size - 1 - jnp.arange(size), jnp.arange(size))

    z = places(orientation.flip_z, depth)[:, None, None]
    y = places(orientation.flip_y, height)[None, :, None]
    x = places(orientation.flip_x, width)[None, None, :]
    plane = y * width + x
    if height == width:
        plane = jnp.where(orientation.transpose, x * width + y, plane)
    flat = volume.reshape(depth * height * width, *volume.shape[3:])
    return flat.at[z * (height * width) + plane].get(mode="promise_in_bounds")


def orientation_map(orientation: Orientation, shape: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """Returns the map to where the content of an oriented volume was before.

    Args:
        orientation: the orientation that was applied.
        shape: (z, y, x) of the volume.

    Returns:
        matrix `[3, 3]` and offset `[3]`, float32: the content at p was at `matrix @ p + offset`.
    """
    flips = jnp.stack(orientation[:3])
    signs = jnp.where(flips, -1.0, 1.0)
    start = jnp.where(flips, jnp.asarray(shape, jnp.float32) - 1, 0.0)
    swap = jnp.asarray([0, 2, 1])
    matrix = jnp.where(orientation.transpose, jnp.diag(signs)[swap], jnp.diag(signs))
    return matrix, jnp.where(orientation.transpose, start[swap], start)


def flip(key: jax.Array, volume: jax.Array, probability: jax.Array | float = 1.0) -> jax.Array:
    """Operator 1: one of the 16 flips and transposes, uniformly drawn (the identity is one of them).

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32.
        probability: probability that the operator acts.
    """
    return orient(volume, draw_orientation(key, volume.shape, probability))


def resample_plane(volume: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Interpolates linearly at separable in-plane coordinates: two matrix products, no gather.

    Args:
        volume: `[z, y, x]` float32.
        y: `[i]` coordinates, clamped to the volume; integer coordinates are read exactly.
        x: `[j]` coordinates.

    Returns:
        `[z, i, j]` float32.
    """

    def weights(coordinates: jax.Array, size: int) -> jax.Array:
        distance = jnp.clip(coordinates, 0, size - 1)[:, None] - jnp.arange(size)
        return jnp.maximum(0.0, 1.0 - jnp.abs(distance))

    rows = jnp.einsum("ij,zjx->zix", weights(y, volume.shape[1]), volume, precision=EXACT)
    return jnp.einsum("zix,kx->zik", rows, weights(x, volume.shape[2]), precision=EXACT)


def central(volume: jax.Array, size: Sequence[int]) -> jax.Array:
    """Returns the central block of the given size; where a margin is odd, its smaller half comes first."""
    starts = [(have - want) // 2 for have, want in zip(volume.shape, size, strict=True)]
    return volume[tuple(slice(s, s + n) for s, n in zip(starts, size, strict=True))]


def zoom_plane(volume: jax.Array, zoom: jax.Array | float, size: Sequence[int]) -> jax.Array:
    """Magnifies about the centre and returns the central block.

    Args:
        volume: `[z, y, x]` float32, at least as large as size.
        zoom: magnification in y and x; 1 reads the central block exactly.
        size: (z, y, x) of the result.

    Returns:
        `[z, y, x]` of the given size.
    """

    def coordinates(have: int, want: int) -> jax.Array:
        middle = (want - 1) / 2
        return (have - want) // 2 + middle + (jnp.arange(want) - middle) / zoom

    sections = central(volume, (size[0], *volume.shape[1:]))
    return resample_plane(
        sections, coordinates(volume.shape[1], size[1]), coordinates(volume.shape[2], size[2])
    )


def rescale(
    key: jax.Array,
    volume: jax.Array,
    size: Sequence[int],
    zoom_range: tuple[float, float] = (2 / 3, 1.5),
    probability: jax.Array | float = 1.0,
) -> jax.Array:
    """Operator 0: a central square of even side, uniformly drawn, resized to the crop (bilinear).

    Args:
        key: typed PRNG key.
        volume: `[z, Y, X]` float32, larger than the crop by what the smallest zoom reads around it.
        size: (z, y, x) of the crop; for 160 and the default range the sides are the even ones in
            [106, 240].
        zoom_range: smallest and largest magnification.
        probability: probability that the operator acts; otherwise the central crop is returned.
    """
    draws = jax.random.uniform(key, (2,))
    low, high = int(size[1] / zoom_range[1]) // 2, int(size[1] / zoom_range[0]) // 2
    side = 2 * whole_numbers(draws[0], low, high)
    crop = central(volume, size)
    return jnp.where(draws[1] < probability, zoom_plane(volume, size[1] / side, size), crop)


def spline_matrix(size: int, controls: int) -> np.ndarray:
    """Returns the interpolation matrix of a cubic spline through equally spaced values, ends aligned.

    It is the map that `scipy.ndimage.zoom(order=3)` applies along one axis, as a constant.

    Args:
        size: number of samples.
        controls: number of control values; one means a constant.

    Returns:
        `[size, controls]` float32.
    """
    if controls == 1:
        return np.ones((size, 1), np.float32)

    def basis(positions: np.ndarray) -> np.ndarray:
        matrix = np.zeros((len(positions), controls))
        for node in range(-2, controls + 2):
            distance = np.abs(positions - node)
            inner = 2 / 3 - distance**2 + distance**3 / 2
            outer = np.maximum(0, 2 - distance) ** 3 / 6
            period = 2 * controls - 2
            mirrored = min(node % period, period - node % period)
            matrix[:, mirrored] += np.where(distance < 1, inner, outer)
        return matrix

    positions = np.linspace(0, controls - 1, size)
    weights = basis(positions) @ np.linalg.inv(basis(np.arange(controls, dtype=float)))
    return weights.astype(np.float32)


def elastic_displacement(
    key: jax.Array, shape: Sequence[int], spacing: Sequence[int], jitter: float
) -> jax.Array:
    """Returns a smooth random in-plane displacement: normal jitter of control points, cubic in between.

    Args:
        key: typed PRNG key.
        shape: (z, y, x).
        spacing: (z, y, x) distance between control points, voxels.
        jitter: standard deviation of the control points in y and x, voxels.

    Returns:
        `[z, y, x, 2]` float32 (dy, dx), voxels.
    """
    counts = [max(1, round(n / step)) for n, step in zip(shape, spacing, strict=True)]
    along_z, along_y, along_x = (
        spline_matrix(n, count) for n, count in zip(shape, counts, strict=True)
    )
    # Clipped at three sigma, so that no draw reaches far outside the volume (our choice).
    draws = jnp.clip(jax.random.normal(key, (2, *counts)), -3, 3) * jitter
    fields = jnp.einsum("za,dabc->dzbc", along_z, draws, precision=EXACT)
    fields = jnp.einsum("yb,dzbc->dzyc", along_y, fields, precision=EXACT)
    fields = jnp.einsum("xc,dzyc->dzyx", along_x, fields, precision=EXACT)
    return jnp.moveaxis(fields, 0, -1)


def elastic(
    key: jax.Array,
    volume: jax.Array,
    spacing: Sequence[int] = (4, 40, 40),
    jitter: float = 2.0,
    padding: int = 20,
    nearest: bool = True,
    probability: jax.Array | float = 1.0,
) -> Warped:
    """Operator 10: elastic deformation in the plane, mirrored at the border.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32.
        spacing: (z, y, x) distance between control points, voxels.
        jitter: standard deviation of the control points, voxels.
        padding: margin over which the control grid extends in y and x, voxels.
        nearest: whether to read the nearest voxel (as released) instead of the bilinear mean.
        probability: probability that the operator acts.
    """
    act_key, key = jax.random.split(key)
    depth, height, width = volume.shape
    grid = (depth, height + 2 * padding, width + 2 * padding)
    field = elastic_displacement(key, grid, spacing, jitter)
    field = field[:, padding : padding + height, padding : padding + width]
    if nearest:
        field = jnp.round(field)
    field = jnp.where(happens(act_key, probability), field, 0.0)
    y = jnp.arange(height)[None, :, None] + field[..., 0]
    x = jnp.arange(width)[None, None, :] + field[..., 1]
    return Warped(
        sample_sections(volume, y, x, nearest=nearest), field, inside_section(y, x, volume.shape)
    )


def reach(size: int, zoom_range: tuple[float, float]) -> int:
    """Returns the side of a window that holds `size` voxels at the smallest zoom, with equal margins."""
    needed = max(size, math.ceil((size - 1) / min(1.0, zoom_range[0])) + 1)
    return needed + (needed - size) % 2


def released_reach(size: int, zoom_range: tuple[float, float]) -> int:
    """Returns the largest even side that `rescale` draws for `size` voxels, with equal margins."""
    needed = max(size, 2 * (int(size / zoom_range[0]) // 2))
    return needed + (needed - size) % 2
