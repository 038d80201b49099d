"""Layers of networks for photographs, applied to volumes: convolutions with strides in the section, normalizations.

Kernels are `[z, y, x, i, o]`, with a depth of 1 where the layer works as in the 2D network, and more where it sees
neighbouring sections (`emjax.weights.inflate`). Sections are the batch of a 2D convolution; a deeper kernel becomes one
over the channels of neighbouring sections, or, in depthwise convolutions, one for each section.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from emjax.models.layers import KAIMING
from emjax.parallel.sharding import constrain

# Kinds of `ImageNorm`; the first is that of networks without published weights.
NORMS = ("group", "affine")
_PLANE = ("NHWC", "HWIO", "NHWC")


class Step(NamedTuple):
    """One convolution or pooling that a voxel passes, for footprints.

    Attributes:
        kernel: side of the kernel in the section.
        stride: stride in the section.
        before: rows of padding before the section.
        depth: number of sections that the kernel sees.
    """

    kernel: int
    stride: int = 1
    before: int = 0
    depth: int = 1

    @property
    def reach(self) -> int:
        """Cells on each side, in the section, that the cells under one output cell depend on."""
        return max(self.before + self.stride - 1, self.kernel - 1 - self.before)


def convolve_sections(
    x: jax.Array, kernel: jax.Array, stride: int = 1, padding: tuple[int, int] = (0, 0)
) -> jax.Array:
    """Convolves sections, with a stride in the section and none along z.

    Args:
        x: `[b, z, y, x, c]`.
        kernel: `[d, k, k, c, o]`, or `[d, k, k, 1, c]` for a depthwise convolution; section z sees z - d // 2 and the
            d - 1 sections after it, and zeros beyond the ends.
        stride: stride in y and x.
        padding: rows and columns of zeros before and after the section.

    Returns:
        `[b, z, y', x', o]`.
    """
    depth, size, _, inputs, outputs = kernel.shape
    each = inputs == 1 and x.shape[-1] == outputs > 1
    if depth == 1:
        kernel = kernel[0]
    elif each:
        parts = [
            convolve_sections(_shift(x, a - depth // 2), kernel[a : a + 1], stride, padding)
            for a in range(depth)
        ]
        return sum(parts[1:], parts[0])
    else:
        x = jnp.concatenate([_shift(x, a - depth // 2) for a in range(depth)], axis=-1)
        kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(size, size, depth * inputs, outputs)
    batch, sections = x.shape[:2]
    x = x.reshape(batch * sections, *x.shape[2:])

    def native(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            [padding, padding],
            dimension_numbers=_PLANE,
            feature_group_count=outputs if each else 1,
        )

    def taps(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _by_taps(x, kernel, stride, padding)

    out = lax.platform_dependent(x, kernel, cpu=taps, default=native) if each else native(x, kernel)
    return out.reshape(batch, sections, *out.shape[1:])


def _by_taps(x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]) -> jax.Array:
    """Computes a depthwise convolution as a sum of shifted products.

    XLA's CPU compiler has no fast form of it: this is 18 to 37 times as fast, and its gradient 2 to 17 times (on two
    cores, kernels of 3, 5 and 7 pixels, 96 and 240 channels).
    """
    size = kernel.shape[0]
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    rows, columns = ((n + sum(padding) - size) // stride * stride + 1 for n in (height, width))
    parts = [
        lax.slice(x, (0, i, j, 0), (batch, i + rows, j + columns, channels), (1, stride, stride, 1))
        * kernel[i, j, 0]
        for i in range(size)
        for j in range(size)
    ]
    return sum(parts[1:], parts[0])


def _shift(x: jax.Array, by: int) -> jax.Array:
    """Returns `x[:, z + by]`, zero beyond the ends."""
    if by == 0:
        return x
    padding = [(0, 0, 0)] * x.ndim
    padding[1] = (-by, by, 0)  # negative padding crops
    return lax.pad(x, jnp.zeros((), x.dtype), padding)


class ImageConv(nn.Module):
    """Convolution with a stride in the section.

    Attributes:
        features: output channels.
        size: side of the kernel in the section.
        stride: stride in the section.
        padding: rows and columns of zeros before and after the section.
        depth: number of sections that the kernel sees.
        use_bias: whether a bias is added.
        each: whether the convolution is depthwise, with a kernel for each channel.
        dtype: type of the computation.
    """

    features: int
    size: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    depth: int = 1
    use_bias: bool = False
    each: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to `[b, z, y / stride, x / stride, features]`."""
        inputs = 1 if self.each else x.shape[-1]
        shape = (self.depth, self.size, self.size, inputs, self.features)
        kernel = self.param("kernel", KAIMING, shape).astype(self.dtype)
        x = convolve_sections(x.astype(self.dtype), kernel, self.stride, self.padding)
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return constrain(x, "batch", "z", "y", "x", "channel")


class ImageNorm(nn.Module):
    """Replaces a batch normalization of a network for photographs; both kinds have the same two parameters.

    Attributes:
        kind: 'affine': a factor and a shift of each channel, into which the statistics of the published network are
            folded; 'group': a group normalization, for networks without published weights.
        dtype: type of the output.
    """

    kind: str
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to the same shape."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        if self.kind == "affine":
            return x * scale.astype(self.dtype) + bias.astype(self.dtype)
        groups = max(g for g in range(1, 17) if channels % g == 0)
        wide = x.astype(jnp.float32)
        parts = wide.reshape(*x.shape[:4], groups, channels // groups)
        mean = parts.mean((1, 2, 3, 5), keepdims=True)
        variance = jnp.square(parts - mean).mean((1, 2, 3, 5), keepdims=True)
        parts = (parts - mean) * lax.rsqrt(variance + 1e-5)
        return (parts.reshape(x.shape) * scale + bias).astype(self.dtype)


def pool_overlapping(x: jax.Array) -> jax.Array:
    """Takes the maximum over 3x3 pixels at every second pixel, as in ResNets: `[b, z, y, x, c]` to half the size."""
    low = jnp.asarray(-jnp.inf, x.dtype)
    pads = ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, low, lax.max, (1, 1, 3, 3, 1), (1, 1, 2, 2, 1), pads)
