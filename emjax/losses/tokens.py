"""What the token losses compare: features read at positions, and channels drawn by lot."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError


def sample_features(features: jax.Array, points: jax.Array) -> jax.Array:
    """Reads features at fractional positions by linear interpolation in z, y and x.

    Args:
        features: `[z, y, x, c]`.
        points: `[n, 3]` z y x in cells of these features; the centre of the first cell is (0, 0,
            0). Points outside are read at the nearest point inside; coordinates that are not finite
            count as 0.

    Returns:
        `[n, c]` float32, differentiable in the features and, inside, in the points.
    """
    limits = jnp.asarray(features.shape[:3]) - 1
    # A masked position may be anything; its feature must be finite all the same, or gradients are
    # not.
    points = jnp.where(jnp.isfinite(points), points, 0.0).astype(jnp.float32)
    points = jnp.clip(points, 0.0, limits.astype(jnp.float32))
    low = jnp.floor(points).astype(jnp.int32)
    above = points - low
    corners = (low, jnp.minimum(low + 1, limits))
    shares = (1.0 - above, above)
    out = jnp.zeros((points.shape[0], features.shape[3]), jnp.float32)
    for z, y, x in itertools.product((0, 1), repeat=3):
        share = shares[z][:, 0] * shares[y][:, 1] * shares[x][:, 2]
        corner = features[corners[z][:, 0], corners[y][:, 1], corners[x][:, 2]]
        out = out + share[:, None] * corner.astype(jnp.float32)
    return out


def channel_counts(level_channels: Sequence[int], ranks: Sequence[int] | None = None) -> list[int]:
    """How many channels of each level become tokens: `floor(0.1 k c_k)`.

    Args:
        level_channels: channels of each level, coarse to fine.
        ranks: k of each level, 1 for the coarsest of the network; None counts the levels given.

    Returns:
        One count a level, at least 1 and at most all channels (both our choice: the formula gives 0
        for thin levels).

    Raises:
        InputError: ranks and levels differ in number.
    """
    ranks = range(1, len(level_channels) + 1) if ranks is None else ranks
    if len(ranks) != len(level_channels):
        raise InputError(
            f"{len(ranks)} ranks for {len(level_channels)} levels; "
            "give one a level, 1 for the coarsest"
        )
    # In whole numbers, where rounding cannot lose a channel.
    return [
        min(max(rank * channels // 10, 1), channels)
        for rank, channels in zip(ranks, level_channels, strict=True)
    ]


def choose_channels(
    key: jax.Array, level_channels: Sequence[int], ranks: Sequence[int] | None = None
) -> list[jax.Array]:
    """Draws the channels of each level that are channel tokens in this step, for both views alike.

    Args:
        key: typed PRNG key, the same on all devices; may be traced.
        level_channels: channels of each level, coarse to fine.
        ranks: k of each level, see `channel_counts`.

    Returns:
        For each level `[channel_counts]` int32, distinct.

    Source: the "random choice" of the figure and code of arXiv:2308.09917; there each device drew
    its own.
    """
    counts = channel_counts(level_channels, ranks)
    keys = jax.random.split(key, len(counts))
    return [
        jax.random.permutation(level_key, channels)[:count]
        for level_key, channels, count in zip(keys, level_channels, counts, strict=True)
    ]
