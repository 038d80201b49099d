"""What the train loop needs to know of a task: how parameters begin, and what is minimised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import jax

# Nested dicts of arrays.
Params: TypeAlias = Any
# Global arrays, rows first.
Batch: TypeAlias = Mapping[str, jax.Array]


class Task(Protocol):
    """What is learnt, as pure functions; loop, state and mesh are the same for every task.

    The loss belongs to the task, not to the loop: views and targets are made from the batch inside
    the compiled step, and a contrastive or adversarial loss is no function of a prediction and a
    target.
    """

    def init(self, key: jax.Array) -> Params:
        """Makes the parameters.

        Args:
            key: typed PRNG key.

        Returns:
            Float32 arrays in nested dicts; the first level names the modules.
        """
        ...

    def loss(
        self, params: Params, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes the loss of one global batch; it is compiled and differentiated.

        Args:
            params: as made by `init`.
            batch: global arrays, `[b, ...]`.
            key: typed PRNG key of this step.

        Returns:
            A float32 scalar, and float32 scalars to log by name.
        """
        ...
