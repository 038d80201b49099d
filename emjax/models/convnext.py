"""ConvNeXt-T as an encoder of volumes.

Source: "A ConvNet for the 2020s" (arXiv:2201.03545).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.geometry.sizes import Size
from emjax.models.encoder_decoder import Encoded, EncoderDecoder, halvings
from emjax.models.image_layers import ImageConv, Step
from emjax.models.layers import Dense, activate, exact_gelu

_EPSILON = 1e-6


def layer_norm(name: str) -> nn.LayerNorm:
    """Returns the layer normalization over channels that all parts of this network use."""
    return nn.LayerNorm(_EPSILON, dtype=jnp.float32, name=name)


class ConvNextBlock(nn.Module):
    """A 7x7 depthwise convolution, then an MLP, scaled and added to the input."""

    depth: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to the same shape."""
        width = x.shape[-1]
        y = ImageConv(
            width,
            7,
            1,
            (3, 3),
            self.depth,
            use_bias=True,
            each=True,
            dtype=self.dtype,
            name="depthwise",
        )(x)
        y = layer_norm("norm")(y)
        y = Dense(4 * width, dtype=self.dtype, name="mlp0")(y)
        y = Dense(width, dtype=self.dtype, name="mlp1")(activate(exact_gelu, y))
        scale = self.param("scale", nn.initializers.constant(1e-6), (width,))
        return x + scale.astype(self.dtype) * y


class ConvNextEncoder(nn.Module):
    """The four stages of the encoder; returns the map after each stage."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    depth: int
    remat: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Maps `[b, z, y, x, c]` to maps of 1, 1/2, 1/4 and 1/8 of its size in the section."""
        kind = nn.remat(ConvNextBlock) if self.remat else ConvNextBlock
        maps = []
        for stage, (count, width) in enumerate(zip(self.depths, self.widths, strict=True)):
            if stage:
                x = layer_norm(f"norm{stage}")(x)
                x = ImageConv(
                    width, 2, 2, use_bias=True, dtype=self.dtype, name=f"downsample{stage}"
                )(x)
            for i in range(count):
                x = kind(self.depth, self.dtype, name=f"stage{stage}_block{i}")(x)
            maps.append(x)
        return maps


class Stem(nn.Module):
    """Turns patches of 4x4 pixels into normalized features."""

    width: int
    depth: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, 1]` to `[b, z, y / 4, x / 4, width]`."""
        conv = ImageConv(
            self.width, 4, 4, depth=self.depth, use_bias=True, dtype=self.dtype, name="conv"
        )
        return layer_norm("norm")(conv(x)).astype(self.dtype)


class ConvNext(EncoderDecoder):
    """A ConvNeXt, by default T, with the U-Net's decoder.

    Attributes:
        depths: blocks of each of the four stages.
        widths: channels of each stage.
    """

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)

    @property
    def pools(self) -> tuple[Size, ...]:
        """Strides between levels: five halvings; the first two together are the stem's patches."""
        return halvings(5)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps of a voxel: the patches, and the depthwise and strided convolutions."""
        steps = [Step(4, 4)]
        for stage, count in enumerate(self.depths):
            steps += [Step(2, 2)] * (stage > 0)
            steps += [Step(7, 1, 3, self.kernel_depth)] * count
        return tuple(steps)

    @property
    def encoder_layers(self) -> tuple[tuple[str, int], ...]:
        """Layers of the encoder: its blocks; a strided convolution learns at the rate of the block after it."""
        return tuple(
            (
                f"encoder/(stage{stage}_block{i}"
                + (f"|(norm|downsample){stage})" if stage and i == 0 else ")"),
                1,
            )
            for stage, count in enumerate(self.depths)
            for i in range(count)
        )

    def check(self) -> None:
        """Raises InputError, also unless there are four stages."""
        super().check()
        if not len(self.depths) == len(self.widths) == 4:
            raise InputError(
                f"model.depths={self.depths} and model.widths={self.widths}: give four each, one a stage"
            )

    def encode(self, x: jax.Array) -> Encoded:
        """Maps `[b, z, y, x, 1]` to maps of strides 4, 8 and 16, and the normalized map of stride 32."""
        first = Stem(self.widths[0], self.slices, self.dtype, name="stem")(x)
        *maps, last = ConvNextEncoder(
            self.depths, self.widths, self.kernel_depth, self.remat, self.dtype, name="encoder"
        )(first)
        centre = layer_norm("centre")(last).astype(self.dtype)
        return [None, None, *maps], centre
