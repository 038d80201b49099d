"""Operators on grey values: contrast, noise, blur, edges; all on `[z, y, x]` in [0, 1].

Parameters default to those of the released code of "Learning Multiscale Consistency for
Self-supervised Electron Microscopy Instance Segmentation" (arXiv:2308.09917); `probability` 0 is
the identity, bit for bit.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from emjax.augment.geometry import EXACT, happens, whole_numbers


def adjust_intensity(
    volume: jax.Array, contrast: jax.Array, brightness: jax.Array, gamma: jax.Array
) -> jax.Array:
    """Scales, shifts, clips and raises to a power.

    Args:
        volume: `[z, y, x]` float32 in [0, 1].
        contrast: broadcastable factor.
        brightness: broadcastable summand.
        gamma: broadcastable exponent.
    """
    return jnp.clip(volume * contrast + brightness, 0, 1) ** gamma


def intensity(
    key: jax.Array,
    volume: jax.Array,
    contrast: float = 0.05,
    brightness: float = 0.05,
    gamma_octaves: float = 1.0,
    section_probability: float = 0.75,
    probability: jax.Array | float = 1.0,
) -> jax.Array:
    """Operator 3: contrast, brightness and gamma, drawn for each section or once for the volume.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        contrast: the factor is 1 + U(-contrast, contrast).
        brightness: the summand is U(-brightness, brightness).
        gamma_octaves: the exponent is 2^U(-gamma_octaves, gamma_octaves).
        section_probability: probability that each section gets its own draw.
        probability: probability that the operator acts.
    """
    draws = jax.random.uniform(key, (3 * volume.shape[0] + 2,))
    acts, by_section = draws[0] < probability, draws[1] < section_probability
    draws = 2 * draws[2:].reshape(3, volume.shape[0], 1, 1) - 1
    draws = jnp.where(by_section, draws, draws[:, :1])
    changed = adjust_intensity(
        volume, 1 + contrast * draws[0], brightness * draws[1], 2.0 ** (gamma_octaves * draws[2])
    )
    return jnp.where(acts, changed, volume)


def noise(
    key: jax.Array,
    volume: jax.Array,
    sigma_range: tuple[float, float] = (0.01, 0.2),
    probability: jax.Array | float = 1.0,
) -> jax.Array:
    """Operator 4: Gaussian noise of one standard deviation, drawn uniformly; clipped.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        sigma_range: smallest and largest standard deviation, grey values of [0, 1].
        probability: probability that the operator acts.
    """
    sigma_key, key = jax.random.split(key)
    draws = jax.random.uniform(sigma_key, (2,))
    sigma = sigma_range[0] + (sigma_range[1] - sigma_range[0]) * draws[0]
    noisy = jnp.clip(volume + sigma * jax.random.normal(key, volume.shape), 0, 1)
    return jnp.where(draws[1] < probability, noisy, volume)


def gaussian_matrix(
    size: int,
    sigma: jax.Array,
    radius: jax.Array,
    start: jax.Array | int = 0,
    stop: jax.Array | int | None = None,
    *,
    repeat_border: bool,
) -> jax.Array:
    """Returns a Gaussian filter along one axis as a matrix, mirrored at the ends of an interval.

    As a matrix, the filter can have a traced width and interval with static shapes, and costs one small product.

    Args:
        size: voxels of the axis.
        sigma: standard deviation, voxels; 0 gives the identity.
        radius: the kernel is cut off beyond it, voxels.
        start: first voxel of the interval.
        stop: one past its last voxel; by default the size of the axis.
        repeat_border: whether the mirror image repeats the border voxel (scipy's 'reflect') or not (OpenCV's).

    Returns:
        `[..., size, size]` float32, leading axes as those of sigma; only rows inside the interval are meaningful.
    """
    sigma, radius, start, stop = (
        jnp.asarray(v)[..., None, None]
        for v in (sigma, radius, start, size if stop is None else stop)
    )
    row, column = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    length = stop - start
    period = jnp.maximum(1, 2 * length if repeat_border else 2 * length - 2)
    image = 2 * start - 1 - column if repeat_border else 2 * start - column
    sharpness = 0.5 / jnp.maximum(sigma, 1e-3) ** 2
    weights = jnp.zeros(())
    # Two periods on either side cover every radius up to three interval lengths.
    for turn in range(-2, 3):
        for mirrored in (False, True):
            distance = row - (image if mirrored else column) - turn * period
            term = jnp.exp(-sharpness * distance**2) * (jnp.abs(distance) <= radius)
            if mirrored and not repeat_border:
                # The border voxels are their own mirror images and must count once.
                term = term * (column != start) * (column != stop - 1)
            weights = weights + term
    weights = weights * (column >= start) * (column < stop)
    return weights / jnp.maximum(weights.sum(-1, keepdims=True), 1e-12)


def filter_plane(volume: jax.Array, along_y: jax.Array, along_x: jax.Array) -> jax.Array:
    """Applies one matrix along y and one along x, the same for all sections or one for each section.

    Args:
        volume: `[z, y, x]`.
        along_y: `[y, y]` or `[z, y, y]`.
        along_x: `[x, x]` or `[z, x, x]`.
    """
    rows = jnp.matmul(along_y, volume, precision=EXACT)
    return jnp.matmul(rows, jnp.swapaxes(along_x, -1, -2), precision=EXACT)


def blur(
    key: jax.Array,
    volume: jax.Array,
    sigma_range: tuple[float, float] = (0.0, 2.0),
    radius_range: tuple[int, int] = (1, 4),
    probability: jax.Array | float = 1.0,
) -> jax.Array:
    """Operator 5: in-plane Gaussian blur of one width, mirrored at the border; clipped.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        sigma_range: smallest and largest standard deviation, voxels.
        radius_range: smallest and largest kernel radius, voxels (kernels of 3 to 9 voxels).
        probability: probability that the operator acts.
    """
    draws = jax.random.uniform(key, (3,))
    sigma = sigma_range[0] + (sigma_range[1] - sigma_range[0]) * draws[0]
    radius = whole_numbers(draws[1], *radius_range)
    along_y, along_x = (
        gaussian_matrix(n, sigma, radius, repeat_border=False) for n in volume.shape[1:]
    )
    blurred = jnp.clip(filter_plane(volume, along_y, along_x), 0, 1)
    return jnp.where(draws[2] < probability, blurred, volume)


def sobel_magnitude(volume: jax.Array) -> jax.Array:
    """Returns the in-plane gradient magnitude of each section: root mean square of the two Sobel responses.

    Args:
        volume: `[z, y, x]` float32; the border voxels are repeated outside.
    """
    padded = jnp.pad(volume, ((0, 0), (1, 1), (1, 1)), mode="edge")

    def respond(axis: int) -> jax.Array:
        size, other = padded.shape[axis], 3 - axis
        take = jax.lax.slice_in_dim
        difference = take(padded, 2, size, axis=axis) - take(padded, 0, size - 2, axis=axis)
        size = padded.shape[other]
        before, at, after = (take(difference, i, size - 2 + i, axis=other) for i in range(3))
        return (before + 2 * at + after) / 4

    return jnp.sqrt((respond(1) ** 2 + respond(2) ** 2) / 2)


def sobel(key: jax.Array, volume: jax.Array, probability: jax.Array | float = 1.0) -> jax.Array:
    """Operator 7: gradient magnitude plus the section's mean; clipped.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        probability: probability that the operator acts.
    """
    mean = volume.mean(axis=(1, 2), keepdims=True)
    edges = jnp.clip(sobel_magnitude(volume) + mean, 0, 1)
    return jnp.where(happens(key, probability), edges, volume)
