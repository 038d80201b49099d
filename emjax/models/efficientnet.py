"""EfficientNet-Lite0 as an encoder of volumes.

Source: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (arXiv:1905.11946) in its Lite
form: no squeeze-and-excitation, and activations clipped at 6. The 1x1 convolution to 1280 channels before the
classifier is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.geometry.sizes import Size
from emjax.models.encoder_decoder import Encoded, EncoderDecoder, halvings
from emjax.models.image_layers import NORMS, ImageConv, ImageNorm, Step
from emjax.models.layers import activate


class _Stage(NamedTuple):
    count: int
    size: int
    stride: int
    expand: int
    features: int


_FIRST = 32
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
# Indices of the blocks whose outputs are the maps of strides 2, 4, 8 and 16; the last block's output is the centre.
_TAPS = (0, 2, 4, 10)


class _BlockPlan(NamedTuple):
    size: int
    stride: int
    expand: int
    features: int


# The plan of each block, in order, as weight files number them.
BLOCKS = tuple(
    _BlockPlan(stage.size, stage.stride if i == 0 else 1, stage.expand, stage.features)
    for stage in _STAGES
    for i in range(stage.count)
)


def padding(size: int, stride: int) -> tuple[int, int]:
    """Returns the padding rows before and after an even section: with a stride, one less before, as in TensorFlow."""
    total = size - stride
    return total // 2, total - total // 2


class MobileBlock(nn.Module):
    """Inverted residual block: expansion to more channels, a depthwise convolution, and a projection back."""

    plan: _BlockPlan
    depth: int
    norm: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to `[b, z, y / stride, x / stride, features]`."""
        size, stride, expand, features = self.plan
        width = expand * x.shape[-1]

        def norm(name: str) -> ImageNorm:
            return ImageNorm(self.norm, self.dtype, name=name)

        y = x
        if expand > 1:
            y = ImageConv(width, 1, dtype=self.dtype, name="expand")(y)
            y = activate(jax.nn.relu6, norm("expand_norm")(y))
        y = ImageConv(
            width,
            size,
            stride,
            padding(size, stride),
            self.depth,
            each=True,
            dtype=self.dtype,
            name="depthwise",
        )(y)
        y = activate(jax.nn.relu6, norm("depthwise_norm")(y))
        y = norm("project_norm")(ImageConv(features, 1, dtype=self.dtype, name="project")(y))
        return x + y if x.shape == y.shape else y


class EfficientNetEncoder(nn.Module):
    """All blocks; returns the maps of strides 2, 4, 8 and 16, and the last map."""

    depth: int
    norm: str
    remat: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Maps `[b, z, y, x, 32]` to maps of 1, 1/2, 1/4, 1/8 and 1/16 of its size in the section."""
        kind = nn.remat(MobileBlock) if self.remat else MobileBlock
        maps = []
        for i, plan in enumerate(BLOCKS):
            x = kind(plan, self.depth, self.norm, self.dtype, name=f"block{i}")(x)
            if i in _TAPS:
                maps.append(x)
        return [*maps, x]


class Stem(nn.Module):
    """The first convolution, with a stride of 2."""

    depth: int
    norm: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, 1]` to `[b, z, y / 2, x / 2, 32]`."""
        conv = ImageConv(_FIRST, 3, 2, padding(3, 2), self.depth, dtype=self.dtype, name="conv")
        return activate(jax.nn.relu6, ImageNorm(self.norm, self.dtype, name="norm")(conv(x)))


class EfficientNetLite0(EncoderDecoder):
    """EfficientNet-Lite0 with the U-Net's decoder.

    Attributes:
        norm: 'group' (without weights) or 'affine' (with weights of photographs); '': as in the run that weights come
            from.
    """

    norm: str = ""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **EncoderDecoder.choices,
        "norm": ("", *NORMS),
    }

    @property
    def pools(self) -> tuple[Size, ...]:
        """Strides between levels: five halvings."""
        return halvings(5)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps of a voxel: the first convolution and the depthwise ones."""
        blocks = [
            Step(plan.size, plan.stride, padding(plan.size, plan.stride)[0], self.kernel_depth)
            for plan in BLOCKS
        ]
        return (Step(3, 2, padding(3, 2)[0]), *blocks)

    @property
    def encoder_layers(self) -> tuple[tuple[str, int], ...]:
        """Layers of the encoder: its blocks."""
        return tuple((f"encoder/block{i}", 1) for i in range(len(BLOCKS)))

    def encode(self, x: jax.Array) -> Encoded:
        """Maps `[b, z, y, x, 1]` to maps of strides 2, 4, 8 and 16, and the map of stride 32."""
        first = Stem(self.slices, self.norm or NORMS[0], self.dtype, name="stem")(x)
        *maps, centre = EfficientNetEncoder(
            self.kernel_depth, self.norm or NORMS[0], self.remat, self.dtype, name="encoder"
        )(first)
        return [None, *maps], centre
