"""The residual symmetric U-Net that was trained for synaptic clefts; its published weights fit this network.

It differs from `emjax.models.unet`, which has the same origin, in its upsampling (nearest neighbours, then a
convolution in the volume), in a convolution before the head, and in a fixed normalization when it has weights.

Source: "Superhuman Accuracy on the SNEMI3D Connectomics Challenge" (arXiv:1706.00120); the layout is that of the
checkpoint `mip1_d2_1175k` of the group at Princeton.
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
from emjax.models.backbone import Features, check_multiple
from emjax.models.image_layers import NORMS, ImageNorm
from emjax.models.layers import STEM_KERNEL, Conv, activate, elu, max_pool, repeat
from emjax.models.unet import SECTION_KERNEL, block_reach

_POOL = (1, 2, 2)


class NormedBlock(nn.Module):
    """Residual block: a convolution in the section, then two in the volume, added before the last normalization."""

    features: int
    kernel_size: Size
    norm: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to `[b, z, y, x, features]`."""

        def conv(kernel_size: Size, name: str) -> Conv:
            return Conv(self.features, kernel_size, False, self.dtype, name=name)

        def norm(name: str) -> ImageNorm:
            return ImageNorm(self.norm, self.dtype, name=name)

        x = activate(elu, norm("norm0")(conv(SECTION_KERNEL, "conv0")(x)))
        y = activate(elu, norm("norm1")(conv(self.kernel_size, "conv1")(x)))
        return activate(elu, norm("norm2")(x + conv(self.kernel_size, "conv2")(y)))


class RSUNetEncoder(nn.Module):
    """Blocks and poolings; returns the map of each level before its pooling, and the last map after its pooling."""

    widths: tuple[int, ...]
    kernels: tuple[Size, ...]
    norm: str
    dtype: jnp.dtype
    block: type[nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """Maps the stem's `[b, z, y, x, c]` to the levels, fine to coarse, and the last level after its pooling."""
        levels = []
        for i, (width, kernel) in enumerate(zip(self.widths, self.kernels, strict=True)):
            x = self.block(width, kernel, self.norm, self.dtype, name=f"level{i}")(x)
            levels.append(x)
            x = max_pool(x, _POOL)
        return levels, x


class RSUNetDecoder(nn.Module):
    """For each level upsampling, a convolution, the encoder's map and a block; then one more convolution."""

    widths: tuple[int, ...]
    kernels: tuple[Size, ...]
    norm: str
    skips: str
    dtype: jnp.dtype
    block: type[nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array, levels: list[jax.Array]) -> list[jax.Array]:
        """Maps the centre and the encoder's levels (fine to coarse) to the pyramid, coarse to fine."""
        pyramid = []
        for i in reversed(range(len(self.widths))):
            width, kernel = self.widths[i], self.kernels[i]
            x = Conv(width, kernel, False, self.dtype, name=f"upsample{i}")(repeat(x, _POOL))
            x = x + levels[i] if self.skips == "add" else x
            x = activate(elu, ImageNorm(self.norm, self.dtype, name=f"merge{i}")(x))
            x = self.block(width, kernel, self.norm, self.dtype, name=f"level{i}")(x)
            pyramid.append(x)
        embed = Conv(self.widths[0], self.kernels[0], dtype=self.dtype, name="embed")
        return [*pyramid[:-1], activate(elu, embed(pyramid[-1]))]


class RSUNet(nn.Module):
    """The U-Net with published EM weights; its parts are stem, encoder, centre, decoder and head.

    Attributes:
        widths: channels of each level, fine to coarse; the last is the centre's.
        kernels: (z, y, x) kernel of each level's convolutions.
        skips: 'none' (pretraining) or 'add'; the shapes of all parameters are the same.
        norm: 'group' (without weights) or 'affine' (with published weights); '': as in the run that weights come from.
        out_channels: number of channels of the head's output.
        remat: whether to recompute blocks in the backward pass, to save memory.
        dtype: type of the computation; the output is float32.
    """

    widths: tuple[int, ...] = (28, 36, 48)
    kernels: tuple[Size, ...] = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    skips: str = "none"
    norm: str = ""
    out_channels: int = 1
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "skips": ("none", "add"),
        "norm": ("", *NORMS),
    }

    @property
    def level_strides(self) -> tuple[Size, ...]:
        """(z, y, x) voxels of the input per cell of each pyramid level, coarse to fine."""
        return tuple((1, 2**i, 2**i) for i in reversed(range(len(self.widths) - 1)))

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
        return tuple((name, 1) for name in [*names, "decoder/embed"])

    @property
    def footprint(self) -> Footprint:
        """Stride of the coarsest grid, and how far on each side an output voxel can see, in voxels."""
        # Stem and head, and the convolution before the head.
        halo = [2 * (a // 2) + b // 2 for a, b in zip(STEM_KERNEL, self.kernels[0], strict=True)]
        stride = (1, 1, 1)
        levels = len(self.widths) - 1
        for level, kernel in enumerate(self.kernels):
            inner = level < levels
            for axis, (reach, size) in enumerate(zip(block_reach(kernel), kernel, strict=True)):
                # On the way down and up, and the convolution after the upsampling; the centre has only its block.
                cells = 2 * reach + size // 2 if inner else reach
                halo[axis] += stride[axis] * (cells + inner * (_POOL[axis] - 1))
            if inner:
                stride = (1, 2 * stride[1], 2 * stride[2])
        return Footprint(stride, (halo[0], halo[1], halo[2]))

    @classmethod
    def fit_to_voxels(cls, model: Mapping[str, Any], voxel_nm: Sequence[float]) -> dict[str, Any]:
        """Chooses the normalization: 'group' where no weights say otherwise."""
        del voxel_nm
        return {} if model.get("norm") else {"norm": NORMS[0]}

    def check(self) -> None:
        """Raises InputError unless there are levels, each with an odd kernel."""
        if len(self.widths) < 2 or len(self.kernels) != len(self.widths):
            raise InputError(
                f"model.widths={self.widths} and model.kernels={self.kernels}: give two or more, as many of each"
            )
        if any(size % 2 == 0 for size in itertools.chain(*self.kernels)):
            raise InputError(f"model.kernels={self.kernels} must be odd, so that sizes are kept")

    def check_crop(self, crop_size: Size) -> None:
        """Raises InputError unless the crop can be pooled evenly; names the nearest size that can."""
        check_multiple(crop_size, self.footprint.stride, "the network's stride")

    @nn.compact
    def __call__(self, x: jax.Array) -> Features:
        """Maps `[b, z, y, x, 1]`, float in [0, 1], to the features that `Backbone` describes."""
        norm = self.norm or NORMS[0]
        block = nn.remat(NormedBlock) if self.remat else NormedBlock
        widths, kernels = self.widths[:-1], self.kernels[:-1]
        x = activate(elu, Conv(self.widths[0], STEM_KERNEL, dtype=self.dtype, name="stem")(x))
        levels, x = RSUNetEncoder(widths, kernels, norm, self.dtype, block, name="encoder")(x)
        centre = block(self.widths[-1], self.kernels[-1], norm, self.dtype, name="centre")(x)
        pyramid = RSUNetDecoder(
            widths, kernels, norm, self.skips, self.dtype, block, name="decoder"
        )(centre, levels)
        # The head of the published network is one convolution.
        output = Conv(self.out_channels, STEM_KERNEL, name="head")(pyramid[-1].astype(jnp.float32))
        return {"pyramid": tuple(pyramid), "centre": centre, "output": output}
