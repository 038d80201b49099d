"""The contract of a network: what every task needs to train it, and every job to run it.

A new network is one file and one line: the file has a `flax.linen` module with the members of `Backbone`, the line is
its entry in `emjax.models.build.NETWORKS`, or, in a package of its own, an entry point of the group `emjax.networks`.

A configuration sets the module's fields as `model.FIELD`. Their annotations say which values they accept, and other
values are refused before the network is made (`emjax.models.fields`):

| annotation | accepted values |
|---|---|
| `int` | a whole number from 1 |
| `Index` | a whole number from 0 |
| `float` | a finite number |
| `bool` | True or False |
| `str` | one of `choices`, or any text if there are none |
| `Size` | three whole numbers from 1, z, y, x |
| `tuple[T, ...]` | any number of T |

Every network has two more fields: `out_channels`, which the task sets, and `dtype`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypedDict

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.geometry.footprint import Footprint
from emjax.geometry.sizes import Size

# The parts of a network, which are the first level of its parameters; a name may have a suffix, such as
# `encoder_positions`. All but the head are carried over from one task to the next (`emjax.train.transfer`).
PARTS = ("stem", "encoder", "centre", "decoder", "head")
# Pattern of the parameters that only a network with skips has: pretraining has none, so they begin anew in finetuning.
SKIPS = re.compile(r"decoder(/skip|_skip|_path|_image)\d")


class Features(TypedDict):
    """The outputs of a network.

    Attributes:
        pyramid: maps `[b, z_k, y_k, x_k, c_k]`, coarse to fine, in the network's dtype; level k has
            `level_channels[k]` channels and a cell for each `level_strides[k]` voxels.
        centre: the coarsest map, `[b, z, y, x, c]`.
        output: `[b, z, y, x, out_channels]` float32 logits, of the input's size in voxels.
    """

    pyramid: tuple[jax.Array, ...]
    centre: jax.Array
    output: jax.Array


class Backbone(Protocol):
    """A network: a frozen `flax.linen` module whose fields are plain values, so that it is hashable.

    `__call__` is `nn.compact` or uses `setup`, and names its submodules and parameters after `PARTS`. Everything that a
    task needs to know of a network before it has parameters is a property of the module. A network whose parameters
    belong to one size of crops, such as learned positions, has a further attribute `one_crop_size`, which is True.

    Attributes:
        choices: field -> allowed values. For other fields the annotation alone decides.
        out_channels: number of output channels.
        dtype: type of the computation; parameters and the output are float32.
    """

    # linen turns modules into dataclasses.
    __dataclass_fields__: ClassVar[dict[str, Any]]

    choices: ClassVar[Mapping[str, tuple[str, ...]]]
    out_channels: int
    dtype: jnp.dtype

    @property
    def level_strides(self) -> tuple[Size, ...]:
        """(z, y, x) voxels of the input per cell of each pyramid level, coarse to fine."""
        ...

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each pyramid level, coarse to fine."""
        ...

    @property
    def layers(self) -> tuple[tuple[str, int], ...]:
        """Layers in the order of the forward pass, for learning rates that decay with depth.

        For each layer, a pattern of the paths of its parameters within the network, and how many layers are stacked
        along the first axis of those parameters (1 if they are not stacked); see `emjax.train.rates`.
        """
        ...

    @property
    def footprint(self) -> Footprint:
        """Numbers of which inputs must be multiples, and how far on each side an output voxel can see, in voxels."""
        ...

    @classmethod
    def fit_to_voxels(cls, model: Mapping[str, Any], voxel_nm: Sequence[float]) -> dict[str, Any]:
        """Chooses the fields that depend on the shape of the voxels, if a configuration leaves them open.

        Args:
            model: fields as a configuration gives them, not checked yet; fields that are not given have their defaults.
            voxel_nm: (z, y, x) voxel size of the crops, nm, of mixed sizes the most anisotropic one; empty where it is
                unknown.

        Returns:
            Only the chosen fields; `{}` if none is open, or if the network is the same for all voxels.
        """
        ...

    def check(self) -> None:
        """Checks fields against each other; their types and choices are checked before.

        Raises:
            InputError: if they do not fit together: the field as `model.NAME`, its value, and the allowed values.
        """
        ...

    def check_crop(self, crop_size: Size) -> None:
        """Checks that the network can run on a crop.

        Args:
            crop_size: (z, y, x) voxels.

        Raises:
            InputError: if it cannot; names the nearest size that is possible; see `check_multiple`.
        """
        ...

    def __call__(self, x: jax.Array) -> Features:
        """Runs the network.

        Args:
            x: `[b, z, y, x, 1]` float in [0, 1].
        """
        ...


def check_multiple(crop_size: Size, step: Size, what: str) -> None:
    """Raises InputError unless the crop is a multiple of `step`, named `what`; names the nearest size that is one."""
    if any(size < 1 or size % s for size, s in zip(crop_size, step, strict=True)):
        raise InputError(
            f"data.crop_size={tuple(crop_size)} is not divisible by {what} {tuple(step)}; use "
            f"{nearest_multiple(crop_size, step)}"
        )


def nearest_multiple(crop_size: Size, step: Size) -> tuple[int, ...]:
    """Returns the multiple of `step`, at least once it, that is nearest to a size."""
    return tuple(max(s, round(size / s) * s) for size, s in zip(crop_size, step, strict=True))
