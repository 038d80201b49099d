"""Shared by networks whose encoder was designed for photographs: everything but the encoder.

A 2D network that predicts a section from n adjacent ones, given as its input channels, is the 3D network whose first
kernel is n deep and whose other kernels are flat. So one network here covers 2D (n = 1), several sections, and 3D
(`kernel_depth` above 1), with the U-Net's decoder, and weights trained on photographs fit all of them
(`emjax.weights.inflate`).
"""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.geometry.footprint import Footprint
from emjax.geometry.sizes import Size
from emjax.models.backbone import Features, check_multiple
from emjax.models.heads import Head
from emjax.models.image_layers import NORMS, ImageConv, Step
from emjax.models.layers import ACTIVATIONS, STEM_KERNEL
from emjax.models.normalization import NORMS as DECODER_NORMS
from emjax.models.normalization import Norm
from emjax.models.unet import SECTION_KERNEL, Block, Decoder, block_reach
from emjax.models.vit import SkipPath
from emjax.weights.inflate import FILLS, SCALES

# A map for each level, fine to coarse (None where there is none), and the centre.
Encoded: TypeAlias = tuple[list[jax.Array | None], jax.Array]


class EncodedFeatures(Features):
    """The outputs of a network whose decoder can also run alone.

    Attributes:
        encoded: what stem, encoder and centre made of the crops; given back as `encoded`, only the decoder runs.
    """

    encoded: Encoded


class EncoderDecoder(nn.Module, abc.ABC):
    """Base of the networks with an encoder for photographs; their parts are stem, encoder, centre, decoder and head.

    A subclass adds `pools`, `steps`, `encoder_layers` and `encode`; without them no network can be made of it.

    Attributes:
        input_mean: grey value that is mapped to 0 before the first kernel.
        input_deviation: difference of grey values that is mapped to 1. There is one pair for all sections, not one for
            each colour: otherwise a first kernel that treats all sections alike would still tell them apart.
        slices: number of sections that the first kernel sees; odd, the middle one is predicted.
        stem_fill: how weights of photographs are distributed over these sections, a fill of `emjax.weights.inflate`.
        stem_scale: scaling of the weights that the uniform fills make.
        kernel_depth: number of sections that later kernels of more than one pixel see; odd. 1: as in two dimensions.
        kernel_fill: how 2D weights are distributed over these sections, 'center' or 'average'.
        decoder_widths: channels of the decoder's levels, fine to coarse; the finest has the input's size.
        decoder_kernel: (z, y, x) kernel of the decoder's convolutions.
        skips: 'none' (pretraining), 'add': the encoder's maps after a 1x1 convolution each, and the image itself, or
            'encoder': its maps alone, so that the first kernel is the only way for the input.
        upsampling: 'depth_to_space' or 'resize'.
        decoder_norm: how layers of the decoder normalize, a name of `emjax.models.normalization.NORMS`.
        groups: largest number of groups of 'group' and 'calibrated' in the decoder.
        learning: as in the U-Net.
        activation: activation of decoder and head.
        out_channels: number of channels of the head's output.
        remat: whether to recompute blocks in the backward pass.
        dtype: type of the computation; the output is float32.
    """

    input_mean: float = 0.449
    input_deviation: float = 0.226
    slices: int = 1
    stem_fill: str = "average"
    stem_scale: str = "none"
    kernel_depth: int = 1
    kernel_fill: str = "center"
    decoder_widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    decoder_kernel: Size = (1, 3, 3)
    skips: str = "none"
    upsampling: str = "depth_to_space"
    decoder_norm: str = DECODER_NORMS[0]
    groups: int = 4
    learning: bool = False
    activation: str = "elu"
    out_channels: int = 1
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "stem_fill": FILLS,
        "stem_scale": SCALES,
        "kernel_fill": ("center", "average"),
        "skips": ("none", "add", "encoder"),
        "upsampling": ("depth_to_space", "resize"),
        "decoder_norm": DECODER_NORMS,
        "activation": tuple(ACTIVATIONS),
    }

    @property
    def decoder_normalization(self) -> Norm:
        """How layers of the decoder normalize."""
        return Norm(self.decoder_norm, self.groups, self.learning)

    @property
    @abc.abstractmethod
    def pools(self) -> tuple[Size, ...]:
        """Stride from each level to the next coarser one, (z, y, x), fine to coarse; the last leads to the centre."""

    @property
    @abc.abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """Steps of a voxel on its way to the centre: the convolutions and poolings of stem and encoder."""

    @property
    @abc.abstractmethod
    def encoder_layers(self) -> tuple[tuple[str, int], ...]:
        """Layers of the encoder, in the form of `layers`."""

    @abc.abstractmethod
    def encode(self, x: jax.Array) -> Encoded:
        """Maps `[b, z, y, x, 1]` to a map for each level and the centre; a map may be as coarse as the centre."""

    @property
    def level_strides(self) -> tuple[Size, ...]:
        """(z, y, x) voxels of the input per cell of each pyramid level, coarse to fine."""
        strides = itertools.accumulate(self.pools[:-1], _times, initial=(1, 1, 1))
        return tuple(strides)[::-1]

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each pyramid level, coarse to fine."""
        return self.decoder_widths[::-1]

    @property
    def layers(self) -> tuple[tuple[str, int], ...]:
        """Layers in the order of the forward pass, as patterns of parameter paths, for `emjax.train.rates`."""
        levels = reversed(range(len(self.decoder_widths)))
        decoder = [(f"decoder(_[a-z]+{i}|/[a-z]+{i})", 1) for i in levels]
        return (("stem", 1), *self.encoder_layers, ("centre", 1), *decoder)

    @property
    def footprint(self) -> Footprint:
        """Stride of the coarsest grid, and how far on each side an output voxel can see, in voxels."""
        sections, reach, stride = self.slices // 2, 0, 1
        for step in self.steps:
            sections += step.depth // 2
            reach += stride * step.reach
            stride *= step.stride
        halo = [size // 2 for size in STEM_KERNEL]
        halo[0] += sections
        halo[1] += reach
        halo[2] += reach
        for cell in self.level_strides:
            for axis, cells in enumerate(block_reach(self.decoder_kernel)):
                halo[axis] += cell[axis] * cells
        total = (1, 1, 1)
        for pool in self.pools:
            total = _times(total, pool)
        return Footprint(total, (halo[0], halo[1], halo[2]))

    @classmethod
    def fit_to_voxels(cls, model: Mapping[str, Any], voxel_nm: Sequence[float]) -> dict[str, Any]:
        """Chooses the normalization: 'group' where no weights say otherwise; all else is the same for all voxels."""
        del voxel_nm
        return {"norm": NORMS[0]} if "norm" in cls.choices and not model.get("norm") else {}

    def check(self) -> None:
        """Raises InputError unless there is a middle section, and a width for each level."""
        for name in ("slices", "kernel_depth"):
            if getattr(self, name) % 2 == 0:
                raise InputError(
                    f"model.{name}={getattr(self, name)} has no section in the middle; give an odd number"
                )
        if self.input_deviation <= 0:
            raise InputError(f"model.input_deviation={self.input_deviation} must be above 0")
        levels = len(self.pools)
        if len(self.decoder_widths) != levels:
            raise InputError(
                f"model.decoder_widths={self.decoder_widths}: give {levels}, one for each level of this encoder, fine "
                "to coarse"
            )
        if any(size % 2 == 0 for size in self.decoder_kernel):
            raise InputError(f"model.decoder_kernel={self.decoder_kernel} must be odd")

    def check_crop(self, crop_size: Size) -> None:
        """Raises InputError unless the crop is a multiple of the encoder's stride; names the nearest size that is."""
        check_multiple(crop_size, self.footprint.stride, "the encoder's stride")

    @nn.compact
    def __call__(self, x: jax.Array, encoded: Encoded | None = None) -> EncodedFeatures:
        """Maps `[b, z, y, x, 1]`, float in [0, 1], to the features that `Backbone` describes.

        Args:
            x: the crops.
            encoded: what `encoded` of an earlier call for the same crops was: then only the decoder runs, and the
                parameters of stem, encoder and centre are not needed.
        """
        x = (x - self.input_mean) / self.input_deviation
        maps, centre = encoded if encoded is not None else self.encode(x)
        block = nn.remat(Block) if self.remat else Block
        levels: list[jax.Array] = []
        if self.skips != "none":
            levels = [self._skip(i, found, x, block) for i, found in enumerate(maps)]
        count = len(self.decoder_widths)
        pyramid = Decoder(
            self.decoder_widths,
            (self.decoder_kernel,) * count,
            self.pools,
            self.decoder_normalization,
            self.activation,
            self.dtype,
            block,
            "add" if levels else "none",
            self.upsampling,
            name="decoder",
        )(centre, levels)
        output = Head(self.out_channels, self.activation, self.dtype, name="head")(pyramid[-1])
        return {
            "pyramid": tuple(pyramid),
            "centre": centre,
            "output": output,
            "encoded": (maps, centre),
        }

    def _skip(
        self, level: int, found: jax.Array | None, image: jax.Array, block: type[nn.Module]
    ) -> jax.Array:
        """Returns what is added to a decoder level: the encoder's map, the image or nothing."""
        width = self.decoder_widths[level]
        common = (self.decoder_normalization, self.activation, self.dtype)
        if found is not None:
            # Encoders without a pyramid, such as transformers, have all maps on their coarsest grid.
            rows = image.shape[2] // math.prod(pool[1] for pool in self.pools[:level])
            if found.shape[2] != rows:
                path = self.pools[::-1][: len(self.pools) - level]
                name = f"decoder_path{level}"
                found = SkipPath(width, path, *common, name=name)(found)
            return ImageConv(width, 1, dtype=self.dtype, name=f"decoder_skip{level}")(found)
        if level == 0 and self.skips == "add":
            return block(width, SECTION_KERNEL, *common, name="decoder_image0")(image)
        return jnp.zeros((), self.dtype)


def _times(a: Size, b: Size) -> Size:
    return (a[0] * b[0], a[1] * b[1], a[2] * b[2])


def halvings(count: int) -> tuple[Size, ...]:
    """Returns this many poolings by two in the section."""
    return ((1, 2, 2),) * count


def prime_factors(number: int) -> tuple[int, ...]:
    """Returns the prime factors of a number in ascending order; `(1,)` for 1."""
    factors, rest = [], number
    while rest > 1:
        factor = next(f for f in range(2, math.isqrt(rest) + 2) if rest % f == 0 or f * f > rest)
        factor = factor if rest % factor == 0 else rest
        factors.append(factor)
        rest //= factor
    return tuple(factors) or (1,)
