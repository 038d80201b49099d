"""Vision transformers for photographs as encoders of volumes: ViT-S, B and L of DINO, DINOv2, MAE and timm.

Sources: "An Image is Worth 16x16 Words" (arXiv:2010.11929); "DINOv2: Learning Robust Visual Features without
Supervision" (arXiv:2304.07193), with LayerScale; "Vision Transformers Need Registers" (arXiv:2309.16588). For volumes
after "Boosting 3D Neuron Segmentation with 2D Vision Transformer Pre-trained on Natural Images" (arXiv:2405.02686);
that tokens of a section attend to each other alone unless asked otherwise, and positions along z that begin at 0, are
our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.geometry.sizes import Size
from emjax.models.attention import attention
from emjax.models.encoder_decoder import Encoded, EncoderDecoder, prime_factors
from emjax.models.fields import Index
from emjax.models.image_layers import ImageConv, Step
from emjax.models.layers import Dense, activate, exact_gelu
from emjax.models.positions import resample_positions
from emjax.parallel.sharding import constrain
from emjax.weights.resampling import RESAMPLINGS, linear_matrix

_EPSILON = 1e-6


class ImageTransformerBlock(nn.Module):
    """Pre-norm self-attention and MLP, optionally each with a scale; in the form that `nn.scan` needs."""

    heads: int
    mlp_width: int
    layer_scale: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        """Maps `[b, n, width]` to the same shape, returned twice: as carry and as output."""
        width = x.shape[-1]

        def scaled(y: jax.Array, name: str) -> jax.Array:
            if not self.layer_scale:
                return y
            return y * self.param(name, nn.initializers.constant(1e-5), (width,)).astype(self.dtype)

        y = nn.LayerNorm(_EPSILON, dtype=jnp.float32, name="norm0")(x)
        qkv = Dense(3 * width, dtype=self.dtype, name="qkv")(y)
        parts = qkv.reshape(*x.shape[:2], 3, self.heads, width // self.heads)
        y = attention(parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]).reshape(x.shape)
        x = x + scaled(Dense(width, dtype=self.dtype, name="out")(y), "scale0")
        y = nn.LayerNorm(_EPSILON, dtype=jnp.float32, name="norm1")(x)
        y = activate(exact_gelu, Dense(self.mlp_width, dtype=self.dtype, name="mlp0")(y))
        x = x + scaled(Dense(width, dtype=self.dtype, name="mlp1")(y), "scale1")
        x = constrain(x, "batch", "token", "channel")
        return x, x


class ImageTransformer(nn.Module):
    """All blocks, as one scan, so that one block is compiled whatever the depth."""

    depth: int
    heads: int
    mlp_width: int
    layer_scale: bool
    remat: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps tokens `[b, n, width]` to the last state and all states `[depth, b, n, width]`."""
        kind = ImageTransformerBlock
        # Inside a scan, XLA cannot merge the recomputation with the forward pass, so no barriers against that are
        # needed.
        block = nn.remat(kind, prevent_cse=False) if self.remat else kind
        blocks = nn.scan(
            block, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.depth
        )
        common = (self.heads, self.mlp_width, self.layer_scale, self.dtype)
        return blocks(*common, name="blocks")(x, None)


class ImageViT(EncoderDecoder):
    """A vision transformer for photographs with the U-Net's decoder; by default ViT-S/16 of DINO.

    Attributes:
        patch: side of a token in the section, pixels.
        section_stride: sections between layers of tokens: 1, or `slices`, so that each token covers that many sections.
        width: dimensions of a token.
        depth: number of transformer blocks.
        heads: attention heads.
        mlp_width: hidden width of the MLPs.
        registers: number of register tokens, which have no position, beside the class token.
        layer_scale: whether a learned factor scales what each block adds (DINOv2).
        position_grid: rows and columns of the learned positions; for other grids they are resampled.
        resampling: how they are resampled; see `emjax.models.positions`.
        attend: 'section': tokens attend to those of their section; 'volume': to those of all sections, with positions
            along z.
        section_positions: number of learned positions along z for 'volume'; for other depths they are resampled.
        taps: blocks (from 0) whose states are skips, shallow to deep, one for each decoder level but the finest.
        decoder_widths: channels of the decoder's levels, fine to coarse; a level for each prime factor of the patch.
    """

    decoder_widths: tuple[int, ...] = (16, 32, 64, 128)
    patch: int = 16
    section_stride: int = 1
    width: int = 384
    depth: int = 12
    heads: int = 6
    mlp_width: int = 1536
    registers: Index = 0
    layer_scale: bool = False
    position_grid: int = 14
    resampling: str = "offset"
    attend: str = "section"
    section_positions: int = 16
    taps: tuple[Index, ...] = (2, 5, 8)

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **EncoderDecoder.choices,
        "resampling": RESAMPLINGS,
        "attend": ("section", "volume"),
    }

    @property
    def pools(self) -> tuple[Size, ...]:
        """Strides between levels, one for each prime factor of the patch; the last, to the tokens, includes z."""
        *fine, last = [(1, factor, factor) for factor in prime_factors(self.patch)]
        return (*fine, (self.section_stride, *last[1:]))

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps of a voxel: the patch, and the sections up to the next layer of tokens.

        Attention also reads the whole section or volume, so blocks should have the size of the crops in training.
        """
        return (Step(self.patch, self.patch, 0, self.section_stride),)

    @property
    def encoder_layers(self) -> tuple[tuple[str, int], ...]:
        """Layers of the encoder: tokens that are parameters learn at the stem's rate, then come the blocks."""
        return (("encoder_[a-z]+", 1), ("encoder/blocks", self.depth))

    def check(self) -> None:
        """Raises InputError, also unless heads divide the width and each level but the finest has a tap."""
        super().check()
        if self.section_stride not in (1, self.slices):
            raise InputError(
                f"model.section_stride={self.section_stride} must be 1, or model.slices={self.slices} for whole blocks"
            )
        if self.kernel_depth != 1:
            raise InputError(
                f"model.kernel_depth={self.kernel_depth}: a transformer has no kernels but the first; set model.slices"
            )
        if self.width % self.heads:
            raise InputError(f"model.heads={self.heads} must divide model.width={self.width}")
        levels = len(self.decoder_widths)
        if len(self.taps) != levels - 1 or not all(tap < self.depth for tap in self.taps):
            raise InputError(
                f"model.taps={self.taps}: give {levels - 1} blocks out of 0 to {self.depth - 1}, shallow to deep"
            )

    def encode(self, x: jax.Array) -> Encoded:
        """Maps `[b, z, y, x, 1]` to the states of the taps, all on the grid of tokens, and the last one, normalized."""
        x = self._patches(x)
        batch, *grid = x.shape[:4]
        tokens = self._tokens(x)
        last, states = ImageTransformer(
            self.depth,
            self.heads,
            self.mlp_width,
            self.layer_scale,
            self.remat,
            self.dtype,
            name="encoder",
        )(tokens)

        def volume(state: jax.Array) -> jax.Array:
            state = state[:, 1 + self.registers :]
            return state.reshape(batch, *grid, self.width).astype(self.dtype)

        centre = volume(nn.LayerNorm(_EPSILON, dtype=jnp.float32, name="centre")(last))
        return [None, *(volume(states[tap]) for tap in self.taps)], centre

    def _patches(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, 1]` to `[b, z / section_stride, y / patch, x / patch, width]`."""
        conv = ImageConv(
            self.width,
            self.patch,
            self.patch,
            depth=self.slices,
            use_bias=True,
            dtype=self.dtype,
            name="stem",
        )
        x = conv(x)
        # For a block of n sections, the kernel around the middle section sees all n and no others.
        return x[:, self.section_stride // 2 :: self.section_stride]

    def _tokens(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, width]` to tokens with their positions, `[b or b z, n, width]`, the class token first."""
        batch, depth, rows, columns = x.shape[:4]
        normal = nn.initializers.normal(0.02)
        special = self.param("encoder_tokens", normal, (1 + self.registers, self.width))
        places = self.param("encoder_positions", normal, (1 + self.position_grid**2, self.width))
        square = places[1:].reshape(self.position_grid, self.position_grid, self.width)
        square = resample_positions(square, (rows, columns), self.resampling)
        x = x + square.astype(self.dtype)
        # The class token has a position of its own, registers have none.
        special = special.at[0].add(places[0]).astype(self.dtype)
        if self.attend == "volume":
            shape = (self.section_positions, self.width)
            sections = self.param("encoder_sections", nn.initializers.zeros, shape)
            matrix = jnp.asarray(linear_matrix(self.section_positions, depth))
            x = x + (matrix @ sections).astype(self.dtype)[:, None, None]
            x = x.reshape(batch, -1, self.width)
        else:
            x = x.reshape(batch * depth, -1, self.width)
        special = jnp.broadcast_to(special, (len(x), *special.shape))
        return constrain(jnp.concatenate([special, x], axis=1), "batch", "token", "channel")
