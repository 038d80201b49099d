"""What a network has to bring so that every task can train it and every job can run it.

A new network is one file and one line: the file has a `flax.linen` module with the members of `Backbone`, the line is
its entry in `emjax.models.build.NETWORKS`, or an entry point of the group `emjax.networks` in a package of its own.

Its fields are what a configuration sets as `model.FIELD`. Their annotations say what they take, and a value of another
kind is refused before the network is made (`emjax.models.fields`):

| annotation | takes |
|---|---|
| `int` | a whole number from 1 |
| `Index` | a whole number from 0 |
| `float` | a finite number |
| `bool` | True or False |
| `str` | one of `choices`, or any text where there are none |
| `Size` | three whole numbers from 1, z, y, x |
| `tuple[T, ...]` | any number of those |

Two fields every network has: `out_channels`, which the task sets, and `dtype`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypedDict

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.geometry.footprint import Footprint
from emjax.geometry.sizes import Size

# The parts of a network: the first level of its parameters, each name alone or with something behind it, such as
# `encoder_positions`. All but the head are carried over from one task to the next (`emjax.train.transfer`).
PARTS = ("stem", "encoder", "centre", "decoder", "head")


class Features(TypedDict):
    """What a network returns.

    Attributes:
        pyramid: maps `[b, z_k, y_k, x_k, c_k]`, coarse to fine, in the network's dtype; level k has
            `level_channels[k]` channels and a cell for each `level_strides[k]` voxels.
        centre: the coarsest map, `[b, z, y, x, c]`.
        output: `[b, z, y, x, out_channels]` float32 logits, of the input's size.
    """

    pyramid: tuple[jax.Array, ...]
    centre: jax.Array
    output: jax.Array


class Backbone(Protocol):
    """A network: a frozen `flax.linen` module whose fields are plain values, so that it is hashable.

    `__call__` is `nn.compact` or uses `setup`, and names its submodules and parameters after `PARTS`. What a task can
    ask of a network before it has parameters are properties of the module.

    Attributes:
        choices: field -> the values that it may have. Where a field is not named, its annotation decides alone.
        out_channels: of the output.
        dtype: of the computation; parameters and the output are float32.
    """

    # linen makes dataclasses of modules.
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
        """The layers in the order of the forward pass, for learning rates that decay with depth.

        Of each a pattern of its parameters' paths within the network, and how many layers are stacked along the first
        axis of those parameters (1 where none are); see `emjax.train.rates`.
        """
        ...

    @property
    def footprint(self) -> Footprint:
        """What inputs must be multiples of, and how far on each side an output voxel can see."""
        ...

    @classmethod
    def fit_to_voxels(
        cls, model: Mapping[str, Any], voxel_nm: Sequence[float], crop_size: Size
    ) -> dict[str, Any]:
        """Chooses the fields that follow from the shape of the voxels, where a configuration leaves them open.

        Args:
            model: fields as a configuration gives them, not checked yet; those not given have their defaults.
            voxel_nm: (z, y, x) voxel size of the crops, nm; empty where it is unknown or mixed.
            crop_size: (z, y, x) voxels.

        Returns:
            The chosen fields alone; `{}` where nothing is open, and from a network that is the same for all voxels.
        """
        ...

    def check(self) -> None:
        """Checks fields against each other; their kinds and choices are checked before.

        Raises:
            InputError: if they make no network: the field as `model.NAME`, its value, and what it can be.
        """
        ...

    def check_crop(self, crop_size: Size) -> None:
        """Checks that the network can run on a crop.

        Args:
            crop_size: (z, y, x) voxels.

        Raises:
            InputError: if it cannot, naming the nearest size that it can run on; see `check_multiple`.
        """
        ...

    def __call__(self, x: jax.Array) -> Features:
        """Runs the network.

        Args:
            x: `[b, z, y, x, 1]` float in [0, 1].
        """
        ...


def check_multiple(crop_size: Size, step: Size, what: str) -> None:
    """Raises InputError unless the crop is a multiple of `step`, which is called `what`; names the nearest that is."""
    pairs = list(zip(crop_size, step, strict=True))
    if any(size < 1 or size % s for size, s in pairs):
        fit = tuple(max(s, round(size / s) * s) for size, s in pairs)
        raise InputError(
            f"data.crop_size={tuple(crop_size)} is not divisible by {what} {step}; use {fit}"
        )
