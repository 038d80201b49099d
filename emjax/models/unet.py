"""The anisotropic residual symmetric U-Net of the paper; its widths, kernels, strides and norms are fields.

Source: the network called "superhuman" in arXiv:2308.09917, after "Superhuman Accuracy on the SNEMI3D Connectomics
Challenge" (arXiv:1706.00120). Group normalization and upsampling without transposed convolutions are our choice.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.geometry.footprint import Footprint
from emjax.geometry.sizes import Size
from emjax.models.anisotropy import pooling_strides
from emjax.models.backbone import Features, check_multiple
from emjax.models.heads import Head
from emjax.models.layers import (
    ACTIVATIONS,
    STEM_KERNEL,
    Conv,
    Upsample,
    activate,
    max_pool,
)
from emjax.models.normalization import NORMS, Norm, NormAct

# Kernel of the first convolution of a block.
SECTION_KERNEL = (1, 3, 3)


class Block(nn.Module):
    """Residual block: a convolution in the section, then two in the volume whose result is added to it.

    Attributes:
        features: channels.
        kernel_size: (z, y, x) kernel of the two convolutions in the volume.
        norm: how it normalizes.
        activation: activation after each normalization.
        dtype: type of the computation.
        copies: copies of the input, as in `Conv`.
    """

    features: int
    kernel_size: Size
    norm: Norm
    activation: str
    dtype: jnp.dtype
    copies: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to `[b, z, y, x, features]`."""

        def norm(name: str) -> NormAct:
            return NormAct(self.norm, self.activation, self.dtype, name=name)

        def conv(kernel_size: Size, name: str, copies: int = 1) -> Conv:
            return Conv(self.features, kernel_size, False, self.dtype, copies, name=name)

        # The sum starts after the first convolution, as in the paper: no identity from the block's input.
        x = norm("norm0")(conv(SECTION_KERNEL, "conv0", self.copies)(x))
        y = norm("norm1")(conv(self.kernel_size, "conv1")(x))
        return norm("norm2")(x + conv(self.kernel_size, "conv2")(y))


def block_reach(kernel_size: Size) -> Size:
    """Returns how many cells on each side an output cell of a block depends on, z y x."""
    return tuple(a // 2 + 2 * (b // 2) for a, b in zip(SECTION_KERNEL, kernel_size, strict=True))


class Encoder(nn.Module):
    """Blocks and poolings; returns the map of each level before its pooling, and the last map after its pooling."""

    widths: tuple[int, ...]
    kernels: tuple[Size, ...]
    strides: tuple[Size, ...]
    norm: Norm
    activation: str
    dtype: jnp.dtype
    block: type[nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """Maps the stem's `[b, z, y, x, c]` to the levels, fine to coarse, and the last level after its pooling."""
        levels = []
        for i, (width, kernel, stride) in enumerate(
            zip(self.widths, self.kernels, self.strides, strict=True)
        ):
            x = self.block(width, kernel, self.norm, self.activation, self.dtype, name=f"level{i}")(
                x
            )
            levels.append(x)
            x = max_pool(x, stride)
        return levels, x


class Decoder(nn.Module):
    """For each level upsampling, an optional merge with the encoder's map, and a block."""

    widths: tuple[int, ...]
    kernels: tuple[Size, ...]
    strides: tuple[Size, ...]
    norm: Norm
    activation: str
    dtype: jnp.dtype
    block: type[nn.Module]
    skips: str
    upsampling: str

    @nn.compact
    def __call__(self, x: jax.Array, levels: list[jax.Array]) -> list[jax.Array]:
        """Maps the centre and the encoder's levels (fine to coarse) to the pyramid, coarse to fine."""
        pyramid = []
        for i in reversed(range(len(self.widths))):
            width = self.widths[i]
            x = Upsample(width, self.strides[i], self.upsampling, self.dtype, name=f"upsample{i}")(
                x
            )
            if self.skips == "add":
                x = x + levels[i]
            elif self.skips == "concat":
                x = jnp.concatenate([x, levels[i]], axis=-1)
            x = NormAct(self.norm, self.activation, self.dtype, name=f"merge{i}")(x)
            x = self.block(
                width, self.kernels[i], self.norm, self.activation, self.dtype, name=f"level{i}"
            )(x)
            pyramid.append(x)
        return pyramid


class UNet(nn.Module):
    """Residual symmetric U-Net with parts stem, encoder, centre, decoder and head.

    Attributes:
        widths: channels of each level, fine to coarse; the last is the centre's.
        kernels: (z, y, x) kernel of each level's convolutions; a single one serves all levels.
        strides: (z, y, x) stride of each pooling, one fewer than widths.
        skips: 'none' (pretraining), 'add' (finetuning: parameters keep their shapes) or 'concat'.
        upsampling: 'depth_to_space' or 'resize'.
        norm: how layers normalize, a name of `emjax.models.normalization.NORMS`.
        groups: largest number of groups of 'group' and 'calibrated'.
        learning: whether 'running' and 'calibrated' normalize by statistics of the input, and follow them; the training
            sets it (`emjax.train.statistics`).
        activation: activation of all layers.
        out_channels: number of channels of the head's output.
        remat: whether to recompute blocks in the backward pass, to save memory.
        dtype: type of the computation; the output is float32.
    """

    widths: tuple[int, ...] = (28, 36, 48, 64, 80)
    kernels: tuple[Size, ...] = ((3, 3, 3),)
    strides: tuple[Size, ...] = ()
    skips: str = "none"
    upsampling: str = "depth_to_space"
    norm: str = NORMS[0]
    groups: int = 4
    learning: bool = False
    activation: str = "elu"
    out_channels: int = 1
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "skips": ("none", "add", "concat"),
        "upsampling": ("depth_to_space", "resize"),
        "norm": NORMS,
        "activation": tuple(ACTIVATIONS),
    }

    @property
    def pools(self) -> tuple[Size, ...]:
        """Stride of each pooling, (z, y, x), fine to coarse."""
        return self.strides or ((1, 2, 2),) * (len(self.widths) - 1)

    @property
    def all_kernels(self) -> tuple[Size, ...]:
        """Kernel of each level, (z, y, x), fine to coarse, the centre's last."""
        return self.kernels * len(self.widths) if len(self.kernels) == 1 else self.kernels

    @property
    def level_strides(self) -> tuple[Size, ...]:
        """(z, y, x) voxels of the input per cell of each pyramid level, coarse to fine."""
        strides = itertools.accumulate(
            self.pools[:-1],
            lambda a, b: tuple(i * j for i, j in zip(a, b, strict=True)),
            initial=(1, 1, 1),
        )
        return tuple(strides)[::-1]

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each pyramid level, coarse to fine."""
        return tuple(self.widths[:-1][::-1])

    @property
    def layers(self) -> tuple[tuple[str, int], ...]:
        """Layers in the order of the forward pass, as patterns of parameter paths, for `emjax.train.rates`."""
        levels = range(len(self.widths) - 1)
        names = ["stem", *(f"encoder/level{i}" for i in levels), "centre"]
        names += [f"decoder/[a-z]+{i}" for i in reversed(levels)]
        return tuple((name, 1) for name in names)

    @property
    def footprint(self) -> Footprint:
        """Stride of the coarsest grid, and how far on each side an output voxel can see, in voxels."""
        stride = [1, 1, 1]
        halo = [2 * (size // 2) for size in STEM_KERNEL]  # stem and head
        for level, kernel in enumerate(self.all_kernels):
            # Every level has a block on the way down and one on the way up, except the centre with only one.
            passes = 2 if level < len(self.widths) - 1 else 1
            for axis, reach in enumerate(block_reach(kernel)):
                halo[axis] += passes * stride[axis] * reach
            if level < len(self.pools):
                for axis, step in enumerate(self.pools[level]):
                    # A pooled cell reads voxels, and after upsampling affects voxels, up to a step away.
                    halo[axis] += stride[axis] * (step - 1)
                    stride[axis] *= step
        return Footprint(tuple(stride), tuple(halo))

    @classmethod
    def fit_to_voxels(cls, model: Mapping[str, Any], voxel_nm: Sequence[float]) -> dict[str, Any]:
        """Chooses the strides, if none are given, so that voxels become about isotropic."""
        if model.get("strides"):
            return {}
        poolings = max(0, len(model.get("widths", cls.widths)) - 1)
        return {"strides": pooling_strides(voxel_nm, poolings)}

    def check(self) -> None:
        """Raises InputError unless there are a kernel and a stride for each level."""
        levels = len(self.widths)
        if levels < 2:
            raise InputError(f"model.widths={self.widths}: give two or more, fine to coarse")
        if len(self.kernels) not in (1, levels):
            raise InputError(
                f"model.kernels has {len(self.kernels)} entries; give one, or {levels}"
            )
        if any(size % 2 == 0 for kernel in self.kernels for size in kernel):
            raise InputError(f"model.kernels={self.kernels} must be odd, so that sizes are kept")
        if self.strides and len(self.strides) != levels - 1:
            raise InputError(f"model.strides has {len(self.strides)} entries; give {levels - 1}")

    def check_crop(self, crop_size: Size) -> None:
        """Raises InputError unless the crop can be pooled evenly; names the nearest size that can."""
        check_multiple(crop_size, self.footprint.stride, "the network's stride")

    @nn.compact
    def __call__(self, x: jax.Array) -> Features:
        """Maps `[b, z, y, x, 1]`, float in [0, 1], to the features that `Backbone` describes."""
        block = nn.remat(Block) if self.remat else Block
        common = (Norm(self.norm, self.groups, self.learning), self.activation, self.dtype)
        widths, kernels = self.widths, self.all_kernels
        x = Conv(widths[0], STEM_KERNEL, dtype=self.dtype, name="stem")(x)
        x = activate(self.activation, x)
        levels, x = Encoder(widths[:-1], kernels[:-1], self.pools, *common, block, name="encoder")(
            x
        )
        centre = block(widths[-1], kernels[-1], *common, name="centre")(x)
        pyramid = Decoder(
            widths[:-1],
            kernels[:-1],
            self.pools,
            *common,
            block,
            self.skips,
            self.upsampling,
            name="decoder",
        )(centre, levels)
        output = Head(self.out_channels, self.activation, self.dtype, name="head")(pyramid[-1])
        return {"pyramid": tuple(pyramid), "centre": centre, "output": output}
