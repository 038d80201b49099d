"""ResNets for photographs as encoders of volumes.

Source: "Deep Residual Learning for Image Recognition" (arXiv:1512.03385), with the stride in the middle convolution
of a bottleneck, as torchvision and timm have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.geometry.sizes import Size
from emjax.models.encoder_decoder import Encoded, EncoderDecoder, halvings
from emjax.models.image_layers import NORMS, ImageConv, ImageNorm, Step, pool_overlapping
from emjax.models.layers import activate

# Number of blocks of each stage, and whether blocks are bottlenecks of three convolutions, or have two.
_VARIANTS = {"resnet18": ((2, 2, 2, 2), False), "resnet50": ((3, 4, 6, 3), True)}
_WIDTHS = (64, 128, 256, 512)
_WIDENED = 4


class Stem(nn.Module):
    """The first convolution, 7x7 pixels with a stride of 2."""

    depth: int
    norm: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, 1]` to `[b, z, y / 2, x / 2, 64]`."""
        x = ImageConv(64, 7, 2, (3, 3), self.depth, dtype=self.dtype, name="conv")(x)
        return activate(jax.nn.relu, ImageNorm(self.norm, self.dtype, name="norm")(x))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1 ones, added to the input."""

    width: int
    stride: int
    bottleneck: bool
    depth: int
    norm: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to `[b, z, y / stride, x / stride, width or 4 width]`."""

        def step(x: jax.Array, features: int, size: int, stride: int, name: str) -> jax.Array:
            depth, pad = (self.depth, 1) if size > 1 else (1, 0)
            conv = ImageConv(
                features, size, stride, (pad, pad), depth, dtype=self.dtype, name=f"conv{name}"
            )
            return ImageNorm(self.norm, self.dtype, name=f"norm{name}")(conv(x))

        if self.bottleneck:
            features = _WIDENED * self.width
            y = activate(jax.nn.relu, step(x, self.width, 1, 1, "0"))
            y = activate(jax.nn.relu, step(y, self.width, 3, self.stride, "1"))
            y = step(y, features, 1, 1, "2")
        else:
            features = self.width
            y = activate(jax.nn.relu, step(x, features, 3, self.stride, "0"))
            y = step(y, features, 3, 1, "1")
        if self.stride > 1 or x.shape[-1] != features:
            x = step(x, features, 1, self.stride, "_skip")
        return activate(jax.nn.relu, x + y)


class ResNetEncoder(nn.Module):
    """The four stages of the encoder; returns the map after each stage."""

    blocks: tuple[int, ...]
    bottleneck: bool
    depth: int
    norm: str
    remat: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Maps `[b, z, y, x, c]` to maps of 1, 1/2, 1/4 and 1/8 of its size in the section."""
        kind = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        maps = []
        for stage, (count, width) in enumerate(zip(self.blocks, _WIDTHS, strict=True)):
            for i in range(count):
                stride = 2 if stage and i == 0 else 1
                x = kind(
                    width,
                    stride,
                    self.bottleneck,
                    self.depth,
                    self.norm,
                    self.dtype,
                    name=f"stage{stage}_block{i}",
                )(x)
            maps.append(x)
        return maps


class ResNet(EncoderDecoder):
    """A ResNet with the U-Net's decoder.

    Attributes:
        variant: 'resnet18' or 'resnet50'.
        norm: 'group' (without weights) or 'affine' (with weights of photographs); '': as in the run that weights come
            from.
    """

    variant: str = "resnet18"
    norm: str = ""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **EncoderDecoder.choices,
        "variant": tuple(_VARIANTS),
        "norm": ("", *NORMS),
    }

    @property
    def pools(self) -> tuple[Size, ...]:
        """Strides between levels: five halvings."""
        return halvings(5)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps of a voxel: the first convolution, the pooling, and the 3x3 convolutions of the blocks."""
        blocks, bottleneck = _VARIANTS[self.variant]
        steps = [Step(7, 2, 3), Step(3, 2, 1)]
        for stage, count in enumerate(blocks):
            for i in range(count):
                steps.append(Step(3, 2 if stage and i == 0 else 1, 1, self.kernel_depth))
                steps += [Step(3, 1, 1, self.kernel_depth)] * (not bottleneck)
        return tuple(steps)

    @property
    def encoder_layers(self) -> tuple[tuple[str, int], ...]:
        """Layers of the encoder: its blocks."""
        blocks, _ = _VARIANTS[self.variant]
        return tuple(
            (f"encoder/stage{stage}_block{i}", 1)
            for stage, count in enumerate(blocks)
            for i in range(count)
        )

    def encode(self, x: jax.Array) -> Encoded:
        """Maps `[b, z, y, x, 1]` to maps of strides 2, 4, 8 and 16, and the map of stride 32."""
        blocks, bottleneck = _VARIANTS[self.variant]
        first = Stem(self.slices, self.norm or NORMS[0], self.dtype, name="stem")(x)
        *maps, centre = ResNetEncoder(
            blocks,
            bottleneck,
            self.kernel_depth,
            self.norm or NORMS[0],
            self.remat,
            self.dtype,
            name="encoder",
        )(pool_overlapping(first))
        return [None, first, *maps], centre
