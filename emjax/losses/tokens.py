"""The inputs of the token losses: features read at positions, and randomly drawn channels."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError


def sample_features(features: jax.Array, points: jax.Array) -> jax.Array:
    """Reads features at fractional positions by linear interpolation in z, y and x.

    Args:
        features: `[z, y, x, c]`.
        points: `[n, 3]` z y x in cells of these features; the centre of the first cell is (0, 0, 0). Points outside are
            read at the nearest point inside; coordinates that are not finite count as 0.

    Returns:
        `[n, c]` float32, differentiable in the features and, inside, in the points.
    """
    limits = jnp.asarray(features.shape[:3]) - 1
    # A masked position may hold anything; its feature must still be finite, or gradients are not.
    points = jnp.where(jnp.isfinite(points), points, 0.0).astype(jnp.float32)
    points = jnp.clip(points, 0.0, limits.astype(jnp.float32))
    low = jnp.floor(points).astype(jnp.int32)
    above = points - low
    corners = jnp.stack([low, jnp.minimum(low + 1, limits)])
    shares = jnp.stack([1.0 - above, above])

    def by_corner(values: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Splits `[2, n, 3]`, lower and upper, into three arrays that broadcast to `[2, 2, 2, n]`."""
        return values[:, None, None, :, 0], values[None, :, None, :, 1], values[None, None, :, :, 2]

    # One gather for the eight corners: its gradient is one scatter into a map of the level's size, instead of eight
    # scatters and seven sums.
    picked = features[by_corner(corners)].astype(jnp.float32)
    z, y, x = by_corner(shares)
    return jnp.sum((z * y * x)[..., None] * picked, axis=(0, 1, 2))


def channel_counts(level_channels: Sequence[int], ranks: Sequence[int] | None = None) -> list[int]:
    """Returns how many channels of each level become tokens: `floor(0.1 k c_k)`.

    Args:
        level_channels: channels of each level, coarse to fine.
        ranks: k of each level, 1 for the coarsest of the network; None counts the given levels.

    Returns:
        One number for each level, at least 1 and at most all channels (both our choice: the formula gives 0
        for thin levels).

    Raises:
        InputError: if the numbers of ranks and levels differ.
    """
    ranks = range(1, len(level_channels) + 1) if ranks is None else ranks
    if len(ranks) != len(level_channels):
        raise InputError(
            f"{len(ranks)} ranks for {len(level_channels)} levels; "
            "give one a level, 1 for the coarsest"
        )
    # With integers, so that rounding cannot lose a channel.
    return [
        min(max(rank * channels // 10, 1), channels)
        for rank, channels in zip(ranks, level_channels, strict=True)
    ]


def choose_channels(
    key: jax.Array, level_channels: Sequence[int], ranks: Sequence[int] | None = None
) -> list[jax.Array]:
    """Draws the channels of each level that become channel tokens in this step, the same for both views.

    Args:
        key: typed PRNG key, the same on all devices; may be traced.
        level_channels: channels of each level, coarse to fine.
        ranks: k of each level, see `channel_counts`.

    Returns:
        For each level, the distinct indices of its channels, `[channel_counts]` int32.

    Source: the "random choice" of the figure and code of arXiv:2308.09917; there each device drew
    its own.
    """
    counts = channel_counts(level_channels, ranks)
    keys = jax.random.split(key, len(counts))
    return [
        jax.random.permutation(level_key, channels)[:count]
        for level_key, channels, count in zip(keys, level_channels, counts, strict=True)
    ]
