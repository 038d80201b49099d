"""A 3D vision transformer with a convolutional decoder, after UNETR.

Source: the "UNETR" of arXiv:2308.09917, after "UNETR: Transformers for 3D Medical Image Segmentation"
(arXiv:2103.10504). The released code left the transformer out of the graph and had no positions; here the bottleneck
is the normalized last hidden state and tokens have positions. Group normalization, upsampling without transposed
convolutions, and depth that is upsampled to the input's only (the paper goes to four times that and strides back) are
our choice, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from emjax.errors import InputError
from emjax.geometry.footprint import Footprint
from emjax.geometry.sizes import Size
from emjax.models.attention import attention
from emjax.models.backbone import Features, check_multiple
from emjax.models.fields import Index
from emjax.models.heads import Head
from emjax.models.layers import ACTIVATIONS, STEM_KERNEL, Dense, Upsample, activate
from emjax.models.normalization import NORMS, Norm
from emjax.models.unet import Block, block_reach
from emjax.parallel.sharding import constrain

# Kernel of the decoder's blocks, as in the paper.
DECODER_KERNEL = (1, 3, 3)


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and MLP, in the form that `nn.scan` needs."""

    width: int
    heads: int
    head_width: int
    mlp_width: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        """Maps `[b, n, width]` to the same shape, returned twice: as carry and as output."""
        size = self.heads * self.head_width
        y = nn.LayerNorm(dtype=jnp.float32, name="norm0")(x)
        qkv = Dense(3 * size, use_bias=False, dtype=self.dtype, name="qkv")(y)
        query, key, value = jnp.split(
            qkv.reshape(*qkv.shape[:2], 3 * self.heads, self.head_width), 3, axis=2
        )
        y = attention(query, key, value)
        y = Dense(x.shape[-1], dtype=self.dtype, name="out")(y.reshape(*x.shape[:2], size))
        x = x + y
        y = nn.LayerNorm(dtype=jnp.float32, name="norm1")(x)
        y = activate("gelu", Dense(self.mlp_width, dtype=self.dtype, name="mlp0")(y))
        y = Dense(x.shape[-1], dtype=self.dtype, name="mlp1")(y)
        x = x + y
        x = constrain(x, "batch", "token", "channel")
        return x, x


class TransformerEncoder(nn.Module):
    """All blocks, as one scan, so that one block is compiled whatever the depth."""

    depth: int
    width: int
    heads: int
    head_width: int
    mlp_width: int
    remat: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps tokens `[b, n, width]` to the last state and all states `[depth, b, n, width]`."""
        # Inside a scan, XLA cannot merge the recomputation with the forward pass, so no barriers against that are
        # needed.
        block = nn.remat(TransformerBlock, prevent_cse=False) if self.remat else TransformerBlock
        blocks = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.depth,
        )
        return blocks(
            self.width,
            self.heads,
            self.head_width,
            self.mlp_width,
            self.dtype,
            name="blocks",
        )(x, None)


class SkipPath(nn.Module):
    """Leads from the token grid to the grid of a decoder level: a block after each upsampling but the first."""

    width: int
    strides: tuple[Size, ...]
    norm: Norm
    activation: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps a hidden state `[b, z, y, x, c]` to `[b, z sz, y sy, x sx, width]`."""
        for i, stride in enumerate(self.strides):
            x = Upsample(self.width, stride, "depth_to_space", self.dtype, name=f"upsample{i}")(x)
            if i:
                x = Block(
                    self.width,
                    DECODER_KERNEL,
                    self.norm,
                    self.activation,
                    self.dtype,
                    name=f"level{i}",
                )(x)
        return x


class VitDecoder(nn.Module):
    """Leads from the token grid to the input's grid, level by level; each level has a second input for the skip.

    Without skips that input is a copy of the upsampled map, so that finetuning with skips keeps the shapes of
    parameters.
    """

    widths: tuple[int, ...]
    strides: tuple[Size, ...]
    norm: Norm
    activation: str
    skips: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, states: list[jax.Array], image: jax.Array) -> list[jax.Array]:
        """Maps the bottleneck `[b, z, y, x, c]` to the pyramid, coarse to fine.

        Args:
            x: the bottleneck.
            states: hidden states on the token grid, the deepest first, one for each level but the finest.
            image: `[b, z, y, x, 1]`, the skip of the finest level.
        """
        pyramid = []
        common = (self.norm, self.activation, self.dtype)
        for i, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            x = Upsample(width, stride, "depth_to_space", self.dtype, name=f"upsample{i}")(x)
            if self.skips and i < len(states):
                slot = SkipPath(width, self.strides[: i + 1], *common, name=f"skip{i}")(states[i])
            elif self.skips:
                slot = Block(width, DECODER_KERNEL, *common, name=f"skip{i}")(image)
            if self.skips:
                x = jnp.concatenate([x, slot], axis=-1)
            copies = 1 if self.skips else 2
            x = Block(width, DECODER_KERNEL, *common, copies, name=f"level{i}")(x)
            pyramid.append(x)
        return pyramid


class ViT(nn.Module):
    """3D vision transformer with a convolutional decoder; its parts are stem, encoder, centre, decoder and head.

    Attributes:
        patch_size: (z, y, x) voxels of a token.
        width: dimensions of a token.
        depth: number of transformer blocks.
        heads: attention heads.
        head_width: dimensions of a head.
        mlp_width: hidden width of the MLPs.
        taps: blocks (from 0) whose states are skips, shallow to deep, one for each decoder level but the finest.
        decoder_widths: channels of the decoder levels, coarse to fine.
        decoder_strides: (z, y, x) stride of each upsampling; their product is the patch size.
        positions: 'learned', or 'sincos' (fixed).
        skips: 'none' (pretraining) or 'add' (finetuning), as for the U-Net, though nothing is added: the second half of
            each level's input is a copy of the upsampled map, or the tapped state.
        norm: how layers of the decoder normalize, a name of `emjax.models.normalization.NORMS`.
        groups: largest number of groups of 'group' and 'calibrated'.
        learning: as in the U-Net.
        activation: activation of decoder and head.
        out_channels: number of channels of the head's output.
        remat: whether to recompute blocks in the backward pass.
        dtype: type of the computation; the output is float32.
    """

    patch_size: Size = (4, 16, 16)
    width: int = 768
    depth: int = 12
    heads: int = 8
    head_width: int = 64
    mlp_width: int = 2048
    taps: tuple[Index, ...] = (3, 6, 9)
    decoder_widths: tuple[int, ...] = (128, 64, 32, 16)
    decoder_strides: tuple[Size, ...] = ((2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2))
    positions: str = "learned"
    skips: str = "none"
    norm: str = NORMS[0]
    groups: int = 4
    learning: bool = False
    activation: str = "leaky_relu"
    out_channels: int = 1
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "skips": ("none", "add"),
        "positions": ("learned", "sincos"),
        "norm": NORMS,
        "activation": tuple(ACTIVATIONS),
    }

    @property
    def level_strides(self) -> tuple[Size, ...]:
        """(z, y, x) voxels of the input per cell of each pyramid level, coarse to fine."""
        strides, now = [], self.patch_size
        for stride in self.decoder_strides:
            now = tuple(a // b for a, b in zip(now, stride, strict=True))
            strides.append(now)
        return tuple(strides)

    @property
    def one_crop_size(self) -> bool:
        """Whether the parameters belong to one size of crops: there is a learned position for each token."""
        return self.positions == "learned"

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each pyramid level, coarse to fine."""
        return self.decoder_widths

    @property
    def layers(self) -> tuple[tuple[str, int], ...]:
        """Layers in the order of the forward pass, as patterns of parameter paths, for `emjax.train.rates`."""
        decoder = [(f"decoder/[a-z]+{i}", 1) for i in range(len(self.decoder_widths))]
        first = ("(stem|encoder_positions)", 1)
        return (first, ("encoder/blocks", self.depth), ("centre", 1), *decoder)

    @property
    def footprint(self) -> Footprint:
        """Stride of the token grid, and how far on each side the convolutions see, in voxels.

        Attention also reads the whole input, so blocks should have the size of the crops in training.
        """
        halo = [
            patch - 1 + size // 2 for patch, size in zip(self.patch_size, STEM_KERNEL, strict=True)
        ]
        for stride in self.level_strides:
            for axis, reach in enumerate(block_reach(DECODER_KERNEL)):
                halo[axis] += stride[axis] * reach
        return Footprint(self.patch_size, tuple(halo))

    @classmethod
    def fit_to_voxels(cls, model: Mapping[str, Any], voxel_nm: Sequence[float]) -> dict[str, Any]:
        """Chooses nothing: the patch is the same for all voxels."""
        del model, voxel_nm
        return {}

    def check(self) -> None:
        """Raises InputError unless the decoder leads from patches to voxels, and there is a tap for each level."""
        levels = len(self.decoder_widths)
        if len(self.decoder_strides) != levels:
            raise InputError(
                f"model.decoder_strides has {len(self.decoder_strides)} entries; give {levels}, one a decoder width"
            )
        product = tuple(math.prod(steps) for steps in zip(*self.decoder_strides, strict=True))
        if product != self.patch_size:
            raise InputError(
                f"model.decoder_strides={self.decoder_strides} multiply to {product}; they must give "
                f"model.patch_size={self.patch_size}"
            )
        if len(self.taps) != levels - 1 or not all(tap < self.depth for tap in self.taps):
            raise InputError(
                f"model.taps={self.taps}: give {levels - 1} blocks out of 0 to {self.depth - 1}, shallow to deep"
            )

    def check_crop(self, crop_size: Size) -> None:
        """Raises InputError unless the crop consists of whole patches; names the nearest size that does."""
        check_multiple(crop_size, self.patch_size, "model.patch_size")

    @nn.compact
    def __call__(self, x: jax.Array) -> Features:
        """Maps `[b, z, y, x, 1]`, float in [0, 1], to the features that `Backbone` describes."""
        grid = tuple(n // p for n, p in zip(x.shape[1:4], self.patch_size, strict=True))
        tokens = Dense(self.width, dtype=self.dtype, name="stem")(_patches(x, self.patch_size))
        count = math.prod(grid)
        if self.positions == "learned":
            shape = (count, self.width)
            places = self.param("encoder_positions", nn.initializers.normal(0.02), shape)
        else:
            places = sincos_positions(grid, self.width)
        tokens = constrain(tokens + places.astype(self.dtype), "batch", "token", "channel")
        last, states = TransformerEncoder(
            self.depth,
            self.width,
            self.heads,
            self.head_width,
            self.mlp_width,
            self.remat,
            self.dtype,
            name="encoder",
        )(tokens)

        def volume(state: jax.Array) -> jax.Array:
            return state.reshape(-1, *grid, self.width).astype(self.dtype)

        centre = volume(nn.LayerNorm(dtype=jnp.float32, name="centre")(last))
        skips = [volume(states[tap]) for tap in reversed(self.taps)]
        pyramid = VitDecoder(
            self.decoder_widths,
            self.decoder_strides,
            Norm(self.norm, self.groups, self.learning),
            self.activation,
            self.skips != "none",
            self.dtype,
            name="decoder",
        )(centre, skips, x)
        output = Head(self.out_channels, self.activation, self.dtype, name="head")(pyramid[-1])
        return {"pyramid": tuple(pyramid), "centre": centre, "output": output}


def sincos_positions(grid: Size, width: int) -> np.ndarray:
    """Returns fixed positions: sines and cosines of geometric wavelengths, a third of the width for each axis.

    Args:
        grid: (z, y, x) tokens.
        width: dimensions of a token; those left over by three equal parts stay 0.

    Returns:
        `[tokens, width]` float32.
    """
    each = width // 6
    speeds = 10_000.0 ** (-np.arange(each) / max(each, 1))
    axes = np.meshgrid(*[np.arange(n) for n in grid], indexing="ij")
    angles = [axis.reshape(-1, 1) * speeds for axis in axes]
    table = np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)], axis=1)
    return np.pad(table, ((0, 0), (0, width - table.shape[1]))).astype(np.float32)


def _patches(x: jax.Array, patch: Size) -> jax.Array:
    """Cuts `[b, z, y, x, 1]` into `[b, tokens, voxels of a patch]`."""
    b, z, y, w = x.shape[:4]
    pz, py, px = patch
    x = x.reshape(b, z // pz, pz, y // py, py, w // px, px)
    return x.transpose(0, 1, 3, 5, 2, 4, 6).reshape(b, -1, pz * py * px)
