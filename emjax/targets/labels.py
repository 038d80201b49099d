"""Labels of one crop on a device: the meaning of their numbers, and the label of a voxel's neighbour.

Labels are `[z, y, x]` int32: ids above 0, dense within the crop; 0 is background; `IGNORE` marks a
voxel of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError

IGNORE = -1
# Labels on a device are int32.
_LARGEST = 2**31 - 1


def neighbour(labels: jax.Array, offset: Sequence[int]) -> jax.Array:
    """Returns the label at p + offset for each voxel p; `IGNORE` where p + offset lies outside the crop.

    Args:
        labels: `[z, y, x]` int32.
        offset: (z, y, x) voxels, of either sign.
    """
    # No axis is moved further than its own size, beyond which everything is outside anyway.
    steps = [max(-n, min(n, o)) for n, o in zip(labels.shape, offset, strict=True)]
    padded = jnp.pad(labels, [(max(-o, 0), max(o, 0)) for o in steps], constant_values=IGNORE)
    window = tuple(
        slice(max(o, 0), max(o, 0) + n) for n, o in zip(labels.shape, steps, strict=True)
    )
    return padded[window]


def check_labels(labels: jax.Array) -> None:
    """Raises InputError unless labels are integers of one crop, `[z, y, x]`."""
    if labels.ndim != 3 or not jnp.issubdtype(labels.dtype, jnp.signedinteger):
        raise InputError(
            f"labels are {labels.dtype}{list(labels.shape)}; targets need int32 [z, y, x] of one "
            "crop (jax.vmap over a batch)"
        )


def check_ids(kind: str, ids: Sequence[int], least: int) -> None:
    """Raises InputError on ids that labels on a device cannot have, or that are given twice.

    Args:
        kind: name of the target, for messages.
        ids: the ids that an option names.
        least: smallest allowed id: 1 where background is not allowed.
    """
    shown = ",".join(map(str, ids))
    if any(i < least for i in ids):
        raise InputError(f"{kind}: ids={shown}: must be {least} or more")
    if len(set(ids)) < len(ids):
        raise InputError(f"{kind}: ids={shown}: an id is given twice")
    if any(i > _LARGEST for i in ids):
        raise InputError(f"{kind}: ids={shown}: a device holds ids up to {_LARGEST}")


def as_channel(values: jax.Array) -> jax.Array:
    """Returns values or flags `[z, y, x]` as one float32 channel, `[z, y, x, 1]`."""
    return values.astype(jnp.float32)[..., None]
