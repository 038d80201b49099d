"""The number that is explained: the logits of one channel, added up over a region."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from emjax.errors import InputError

Score = Callable[[jax.Array], jax.Array]
REGIONS = ("foreground", "background", "all")


def make_score(
    forward: Callable[[jax.Array], jax.Array], region: jax.Array | np.ndarray, channel: int
) -> Score:
    """Makes the score of a network.

    Args:
        forward: `[b, z, y, x, 1]` -> logits `[b, z, y, x, k]`.
        region: `[b, z, y, x]` bool: of which voxels the logits are added up.
        channel: which of the k.

    Returns:
        `[b, z, y, x, 1]` -> `[b]` float32.
    """
    weights = jnp.asarray(region, jnp.float32)

    def score(x: jax.Array) -> jax.Array:
        return (forward(x)[..., channel].astype(jnp.float32) * weights).sum((1, 2, 3))

    return score


def region_of(labels: np.ndarray, name: str, section: int | None = None) -> np.ndarray:
    """Returns which voxels a score adds up.

    Args:
        labels: `[b, z, y, x]`; what is above 0 is foreground, what is below 0 belongs to no region.
        name: one of `REGIONS`.
        section: the only one that counts; None: all.

    Returns:
        `[b, z, y, x]` bool.

    Raises:
        InputError: on an unknown name, or where an image has no such voxel: its score would be a constant.
    """
    if name not in REGIONS:
        raise InputError(f"region '{name}' is unknown; give one of {', '.join(REGIONS)}")
    chosen = {"foreground": labels > 0, "background": labels == 0, "all": labels >= 0}[name]
    if section is not None:
        chosen = chosen & (np.arange(labels.shape[1]) == section)[None, :, None, None]
    empty = np.flatnonzero(~chosen.any((1, 2, 3)))
    if len(empty):
        raise InputError(
            f"image {empty[0]} has no {name} voxel to explain; give a box that has some, or another region"
        )
    return chosen
