"""A target: what some channels of a network learn, and how their logits are read."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp

from emjax.config import nearest
from emjax.errors import InputError
from emjax.targets.affinities import Offset

Losses = tuple[tuple[str, float], ...]

# Losses of a target whose values are 0 or 1.
BINARY_LOSSES = ("bce", "balanced_bce", "focal", "dice", "mse", "l1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target(abc.ABC):
    """What some channels of a network learn: frozen and hashable; options are checked when it is made.

    Attributes:
        losses: (name in `emjax.losses.dense.DENSE_LOSSES`, weight) of each term.
        kind: its name in the target language.
        metric: of validation: `val_<metric>` in results.
        activation: from logits to values: 'sigmoid', 'tanh' or 'softmax'; the losses take it too.
        known_losses: those that make sense for it.
    """

    losses: Losses

    kind: ClassVar[str]
    metric: ClassVar[str]
    activation: ClassVar[str] = "sigmoid"
    known_losses: ClassVar[tuple[str, ...]] = BINARY_LOSSES

    def __post_init__(self) -> None:
        """Raises InputError on losses or options that cannot be."""
        if not self.losses:
            raise InputError(
                f"{self.kind}: no loss; give losses={self.known_losses[0]}:1, or leave it out"
            )
        for name, weight in self.losses:
            if name not in self.known_losses:
                hint = nearest(name, self.known_losses)
                raise InputError(f"{self.kind}: no loss '{name}' for this target{hint}")
            if not 0 < weight < float("inf"):
                raise InputError(f"{self.kind}: weight {weight:g} of loss {name} must be above 0")
            if [n for n, _ in self.losses].count(name) > 1:
                raise InputError(f"{self.kind}: loss {name} is given twice; give it once")

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel, as stored predictions have it."""
        return (self.kind,)

    @property
    def offsets(self) -> tuple[Offset | None, ...]:
        """Offset of each channel, None where it is not an affinity."""
        return (None,) * self.channels

    @property
    def channels(self) -> int:
        """How many channels the network gives."""
        return len(self.names)

    @property
    def reads(self) -> str:
        """Which labels it is made of: 'labels' (ids dense in a crop) or 'classes' (as stored)."""
        return "labels"

    @abc.abstractmethod
    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Makes the target of one crop; jit and vmap work.

        Args:
            labels: `[z, y, x]` int32, see `reads`.
            voxel_nm: `[3]` (z, y, x), nm; for distances. None or zeros: unknown, cubes.

        Returns:
            values `[z, y, x, c]` float32 and mask `[z, y, x, c]` float32, 0 where not known.

        Raises:
            InputError: the labels are no crop, or too small for this target.
        """

    def unit(self, logits: jax.Array) -> jax.Array:
        """Returns logits `[..., c]` as float32 numbers in [0, 1], as they are stored."""
        logits = logits.astype(jnp.float32)
        if self.activation == "softmax":
            return jax.nn.softmax(logits, axis=-1)
        if self.activation == "tanh":
            return (jnp.tanh(logits) + 1) / 2
        return jax.nn.sigmoid(logits)
