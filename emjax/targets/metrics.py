"""Metrics of validation: sums that are made on the device and add up over crops, and a score made from them.

A target has one of these objects, with the name under which results list it (`val_<name>`).
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

# A prediction above this value counts as 1.
THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Metric(abc.ABC):
    """A measure of how well a prediction matches a target.

    Attributes:
        name: the name in results, after `val_`; unique among targets.
    """

    name: str

    @abc.abstractmethod
    def sums(self, unit: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
        """Returns sums of any shape that add up over crops; compiled, so values cannot be inspected.

        Args:
            unit: `[b, z, y, x, c]` float32 in [0, 1], the prediction as it is stored; see `Target.unit`.
            value: the same shape, the target, in its own range.
            mask: the same shape, float32, 1 where the target is known, else 0.
        """

    @abc.abstractmethod
    def score(self, sums: np.ndarray) -> float | None:
        """Returns the metric of the added sums, on the host; None if no known voxel decides it."""


@dataclasses.dataclass(frozen=True)
class MeanAbsoluteError(Metric):
    """Mean distance between prediction and target over known voxels and channels.

    Attributes:
        lowest: the target value that is stored as 0; 1 is stored as 1. -1 for values in [-1, 1].
    """

    lowest: float = 0.0

    def sums(self, unit: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
        """Returns the sum of the errors, and the number of known values."""
        found = (1 - self.lowest) * unit + self.lowest
        return jnp.stack([jnp.sum(jnp.abs(found - value) * mask), jnp.sum(mask)])

    def score(self, sums: np.ndarray) -> float | None:
        """See `Metric.score`; lower is better."""
        return float(sums[0] / sums[1]) if sums[1] else None


@dataclasses.dataclass(frozen=True)
class IntersectionOverUnion(Metric):
    """Number of voxels that are 1 in both prediction and target, divided by those that are 1 in either.

    Attributes:
        of: 'ones', or 'zeros': the overlap of the zeros, where these are the rare class.
    """

    of: Literal["ones", "zeros"] = "ones"

    def sums(self, unit: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
        """Returns the numbers of hits, false alarms and misses, of all channels together."""
        found = (unit > THRESHOLD).astype(jnp.float32)
        if self.of == "zeros":
            found, value = 1 - found, 1 - value
        return _count(found, value, mask, None)

    def score(self, sums: np.ndarray) -> float | None:
        """See `Metric.score`; 0 to 1, higher is better."""
        return _overlap(*sums)


@dataclasses.dataclass(frozen=True)
class F1(IntersectionOverUnion):
    """Harmonic mean of precision and recall: 2 hits / (2 hits + false alarms + misses)."""

    def score(self, sums: np.ndarray) -> float | None:
        """See `Metric.score`; 0 to 1, higher is better."""
        hits, alarms, misses = sums
        return _overlap(2 * hits, alarms, misses)


@dataclasses.dataclass(frozen=True)
class ClassMeanIou(Metric):
    """Mean intersection over union of the channels that occur; a voxel is predicted to be of its largest channel."""

    def sums(self, unit: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
        """Returns the numbers of hits, false alarms and misses of each channel, `[3, c]`."""
        found = jax.nn.one_hot(jnp.argmax(unit, axis=-1), unit.shape[-1])
        return _count(found, value, mask, tuple(range(unit.ndim - 1)))

    def score(self, sums: np.ndarray) -> float | None:
        """See `Metric.score`; 0 to 1, higher is better."""
        return _overlap(*sums)


def _count(
    found: jax.Array, value: jax.Array, mask: jax.Array, axes: tuple[int, ...] | None
) -> jax.Array:
    hits = jnp.sum(found * value * mask, axis=axes)
    alarms = jnp.sum(found * mask, axis=axes) - hits
    return jnp.stack([hits, alarms, jnp.sum(value * mask, axis=axes) - hits])


def _overlap(hits: np.ndarray, alarms: np.ndarray, misses: np.ndarray) -> float | None:
    """Returns hits over the sum of all three, averaged over the channels that occur; None if none occurs."""
    union = np.atleast_1d(hits + alarms + misses)
    if not np.any(union > 0):
        return None
    return float(np.mean(np.atleast_1d(hits)[union > 0] / union[union > 0]))
