"""What is learnt: how parameters begin, what is minimised, and what crops of volumes it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import jax

from emjax.geometry.sizes import Size
from emjax.models.backbone import Backbone

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


class CropTask(Task, Protocol):
    """A task that learns from crops of volumes by a network; see `emjax.train.job`."""

    @property
    def backbone(self) -> Backbone:
        """The network; its parameters are `params['backbone']`, so that other tasks can start from them."""
        ...

    @property
    def crop_size(self) -> Size:
        """(z, y, x) voxels that the network sees."""
        ...

    @property
    def window_size(self) -> Size:
        """(z, y, x) voxels of the windows in a batch: the crop and what augmentation draws in around it."""
        ...
