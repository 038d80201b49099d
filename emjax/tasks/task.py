"""The contract of a task: it makes the first parameters and the loss, and says which crops of volumes it needs."""

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

    The loss belongs to the task, not to the loop: views and targets are made from the batch inside the
    compiled step, and a contrastive or adversarial loss is not a function of a prediction and a target.
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
        """Computes the loss of one global batch; the function is compiled and differentiated.

        Args:
            params: as made by `init`.
            batch: global arrays, `[b, ...]`.
            key: typed PRNG key of this step.

        Returns:
            A float32 scalar, and float32 scalars to log by name.
        """
        ...


class CropTask(Task, Protocol):
    """A task in which a network learns from crops of volumes; see `emjax.train.job`."""

    @property
    def backbone(self) -> Backbone:
        """The network; its parameters are `params['backbone']`, from which other tasks can start."""
        ...

    @property
    def crop_size(self) -> Size:
        """Size of the network's input in training, (z, y, x) voxels."""
        ...

    @property
    def window_size(self) -> Size:
        """Size of the windows in a batch, (z, y, x) voxels: the crop and the margin that augmentation needs."""
        ...
