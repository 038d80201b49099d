"""The target `lsd`: local shape descriptors, an auxiliary task for affinities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.targets.labels import IGNORE, check_labels
from emjax.targets.metrics import MeanAbsoluteError
from emjax.targets.target import Losses, Target

_PAIRS = ((0, 1), (0, 2), (1, 2))
# Variances of less, in units of sigma squared, have no meaningful correlation.
_LEAST_VARIANCE = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShapeDescriptors(Target):
    """Ten channels: statistics of the own object's voxels under a Gaussian around each voxel.

    Attributes:
        losses: of all channels together.
        sigma: (z, y, x) voxels, of the Gaussian.
        coarse: (z, y, x): statistics are made of every so many-th voxel along each axis.
    """

    losses: Losses = (("mse", 1.0),)
    sigma: tuple[float, float, float] = (2.0, 10.0, 10.0)
    coarse: tuple[int, int, int] = (1, 2, 2)

    kind = "lsd"
    metric = MeanAbsoluteError("lsd_mae")
    known_losses = ("mse", "l1", "bce")
    continuous = True

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel."""
        parts = [f"{what}_{axis}" for what in ("offset", "variance") for axis in "zyx"]
        parts += [f"correlation_{pair}" for pair in ("zy", "zx", "yx")] + ["size"]
        return tuple(f"lsd_{part}" for part in parts)

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        return shape_descriptors(labels, self.sigma, self.coarse)

    def __post_init__(self) -> None:
        """Raises InputError on options that are not valid."""
        super().__post_init__()
        if not all(0 < s < float("inf") for s in self.sigma):
            raise InputError(f"lsd: sigma={','.join(f'{s:g}' for s in self.sigma)} must be above 0")
        if min(self.coarse) < 1:
            raise InputError(
                f"lsd: coarse={','.join(map(str, self.coarse))} must be 1 or more, in voxels"
            )


def shape_descriptors(
    labels: jax.Array,
    sigma: Sequence[float] = (2.0, 10.0, 10.0),
    coarse: Sequence[int] = (1, 2, 2),
) -> tuple[jax.Array, jax.Array]:
    """Describes the part of a voxel's own object that lies around it.

    With weights w of a Gaussian around the voxel, over the voxels of its object: the mean of their offsets from the
    voxel (3), the variances along the axes (3), the correlations of the axes zy, zx, yx (3), and the share of w in the
    object (1). Offsets are in units of 2 sigma and correlations halved, both plus 1/2, variances in units of sigma
    squared; all are cut to [0, 1].

    Args:
        labels: `[z, y, x]` int32, ids dense within the crop: time and not memory grows with the largest.
        sigma: (z, y, x) voxels.
        coarse: (z, y, x) voxels between those that are counted.

    Returns:
        values `[z, y, x, 10]` float32 in [0, 1], 0 in background; and mask of the same shape, 0 where the label is
        `IGNORE`. What lies outside of the crop, or is unlabelled, counts neither as object nor otherwise.

    Raises:
        InputError: if the labels are not those of one crop.

    Source: Sheridan et al., doi:10.1038/s41592-022-01711-z, and its code (Gaussian mode), which needs labels around the
    crop, 3 sigma wide; leaving out what is not known is our choice.
    """
    check_labels(labels)
    thin = labels[tuple(slice(None, None, step) for step in coarse)]
    smooth = [_gaussian(n, step, s) for n, step, s in zip(thin.shape, coarse, sigma, strict=True)]
    places = jnp.stack(
        [
            (place - (n - 1) / 2) * step / s
            for place, n, step, s in zip(
                jnp.indices(thin.shape), thin.shape, coarse, sigma, strict=True
            )
        ]
    )
    known = _smoothed((thin != IGNORE).astype(jnp.float32)[None], smooth)[0]
    powers = jnp.stack(
        [
            jnp.ones(thin.shape),
            *places,
            *(p * p for p in places),
            *(places[a] * places[b] for a, b in _PAIRS),
        ]
    )

    def describe(label: jax.Array, values: jax.Array) -> jax.Array:
        sums = _smoothed(jnp.where(thin == label, powers, 0.0), smooth)
        found = jnp.moveaxis(_descriptors(sums, known, places), 0, -1)
        for axis, step in enumerate(coarse):
            found = jnp.repeat(found, step, axis=axis)
        found = found[tuple(slice(n) for n in labels.shape)]
        return jnp.where((labels == label)[..., None], found, values)

    start = jnp.zeros((*labels.shape, 10))
    values = jax.lax.fori_loop(1, jnp.max(labels) + 1, describe, start)
    mask = jnp.broadcast_to((labels != IGNORE)[..., None], values.shape)
    return values, mask.astype(jnp.float32)


def _descriptors(sums: jax.Array, known: jax.Array, places: jax.Array) -> jax.Array:
    """Makes the ten descriptors of one object, `[10, z, y, x]`, in units of sigma, of its weighted sums."""
    count = jnp.maximum(sums[0], 1e-6)
    mean = sums[1:4] / count
    variance = jnp.maximum(sums[4:7] / count - mean**2, _LEAST_VARIANCE)
    pairs = [
        (sums[7 + i] / count - mean[a] * mean[b]) / jnp.sqrt(variance[a] * variance[b])
        for i, (a, b) in enumerate(_PAIRS)
    ]
    size = sums[0] / jnp.maximum(known, 1e-6)
    parts = [(mean - places) / 2 + 0.5, variance, jnp.stack(pairs) / 2 + 0.5, size[None]]
    return jnp.clip(jnp.concatenate(parts), 0, 1)


def _gaussian(size: int, step: int, sigma: float) -> jax.Array:
    """Returns the weights between all places of a line, `[n, n]`."""
    place = jnp.arange(size) * step / sigma
    return jnp.exp(-0.5 * jnp.square(place[:, None] - place))


def _smoothed(values: jax.Array, weights: Sequence[jax.Array]) -> jax.Array:
    """Smooths `[k, z, y, x]` along the last three axes."""
    return jnp.einsum("kzyx,az,by,cx->kabc", values, *weights, optimize=True)
