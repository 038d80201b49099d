"""Basic layers of the networks: parameters in float32, computation in `dtype`."""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.geometry.sizes import Size
from emjax.models.convolution import convolve
from emjax.parallel.sharding import constrain


def elu(x: jax.Array) -> jax.Array:
    """Exponential linear unit with `exp(x) - 1`: takes half the time of `expm1` on a CPU, and is as exact next to 1."""
    return jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0)) - 1)


def exact_gelu(x: jax.Array) -> jax.Array:
    """Gaussian error linear unit without the approximation by tanh."""
    return jax.nn.gelu(x, approximate=False)


Activation: TypeAlias = Callable[[jax.Array], jax.Array]
ACTIVATIONS: dict[str, Activation] = {
    "elu": elu,
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.01),
}
_replaced: contextvars.ContextVar[Callable[[Activation], Activation] | None] = (
    contextvars.ContextVar("replaced", default=None)
)


@contextlib.contextmanager
def replace_activations(replace: Callable[[Activation], Activation]) -> Iterator[None]:
    """Replaces the activations of all networks that are traced within, for maps such as guided backpropagation.

    What is compiled before stays as it is, so trace a function of its own within.

    Args:
        replace: given an activation, returns what is used in its place.
    """
    token = _replaced.set(replace)
    try:
        yield
    finally:
        _replaced.reset(token)


def activate(activation: str | Activation, x: jax.Array) -> jax.Array:
    """Applies an activation, by its name in `ACTIVATIONS` or as a function, or what it is replaced by."""
    function = ACTIVATIONS[activation] if isinstance(activation, str) else activation
    replace = _replaced.get()
    return (replace(function) if replace else function)(x)


# Kernel of the first and the last convolution of every network: only in the section, where the voxels are fine.
STEM_KERNEL = (1, 5, 5)
# Kaiming normal, fan in, gain sqrt 2, as in the paper's networks (truncated at two deviations, as in JAX).
KAIMING = nn.initializers.he_normal()


class Conv(nn.Module):
    """Convolution of stride 1 that keeps the size; see `emjax.models.convolution`.

    Attributes:
        features: output channels.
        kernel_size: (z, y, x), odd.
        use_bias: whether a bias is added.
        dtype: type of the computation.
        copies: the input stands for this many copies of itself, concatenated along the channels. The kernel has
            channels for all copies, and its parts are added instead of their products with the input.
    """

    features: int
    kernel_size: Size
    use_bias: bool = True
    dtype: jnp.dtype = jnp.float32
    copies: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to `[b, z, y, x, features]`."""
        shape = (*self.kernel_size, self.copies * x.shape[-1], self.features)
        kernel = self.param("kernel", KAIMING, shape)
        if self.copies > 1:
            parts = (*self.kernel_size, self.copies, x.shape[-1], self.features)
            kernel = kernel.reshape(parts).sum(axis=3)
        x = convolve(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return constrain(x, "batch", "z", "y", "x", "channel")


class Dense(nn.Module):
    """Linear map of the last axis, accumulated in float32.

    Attributes:
        features: output channels.
        use_bias: whether a bias is added.
        dtype: type of the computation and the output.
    """

    features: int
    use_bias: bool = True
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., c]` to `[..., features]`."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        out = jnp.einsum(
            "...c,ck->...k",
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            preferred_element_type=jnp.float32,
        )
        if self.use_bias:
            out = out + self.param("bias", nn.initializers.zeros, (self.features,))
        return out.astype(self.dtype)


def max_pool(x: jax.Array, stride: Size) -> jax.Array:
    """Takes the maximum over blocks, as a maximum of strided slices, so that its gradient needs no select-and-scatter.

    Args:
        x: `[b, z, y, x, c]`, divisible by the stride.
        stride: (z, y, x) block size.
    """
    for axis, step in enumerate(stride, start=1):
        if step > 1:
            blocks = x.reshape(*x.shape[:axis], x.shape[axis] // step, step, *x.shape[axis + 1 :])
            parts = [jax.lax.index_in_dim(blocks, i, axis + 1, keepdims=False) for i in range(step)]
            x = parts[0]
            for part in parts[1:]:
                x = jnp.maximum(x, part)
    return x


def repeat(x: jax.Array, stride: Size) -> jax.Array:
    """Upsamples `[b, z, y, x, c]` by nearest neighbours."""
    b, z, y, w, c = x.shape
    sz, sy, sx = stride
    x = jnp.broadcast_to(x[:, :, None, :, None, :, None], (b, z, sz, y, sy, w, sx, c))
    return x.reshape(b, z * sz, y * sy, w * sx, c)


class Upsample(nn.Module):
    """Upsampling with a change of channels, without a transposed convolution.

    `depth_to_space` has the parameters of the paper's `transposeS` (a depthwise transposed convolution whose kernel is
    its stride, then a 1x1x1 convolution): both are linear without overlap, so their product is one map from a voxel to
    the voxels under it. `resize` is the 1x1x1 convolution and nearest-neighbour upsampling, which commute (the paper
    interpolates linearly; nearest is our choice, the next convolution smooths it).

    Attributes:
        features: output channels.
        stride: (z, y, x) factor.
        kind: 'depth_to_space' or 'resize'.
        dtype: type of the computation.
    """

    features: int
    stride: Size
    kind: str
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to `[b, z sz, y sy, x sx, features]`."""
        channels = x.shape[-1]
        mix = self.param("kernel", KAIMING, (channels, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if self.kind == "resize":
            x = jnp.einsum("bzyxc,ck->bzyxk", x.astype(self.dtype), mix.astype(self.dtype))
            return repeat(x + bias.astype(self.dtype), self.stride)
        places = math.prod(self.stride)
        spread = self.param("spread", nn.initializers.ones, (places, channels))
        spread_bias = self.param("spread_bias", nn.initializers.zeros, (channels,))
        kernel = (spread[:, :, None] * mix).transpose(1, 0, 2).astype(self.dtype)
        x = jnp.einsum("bzyxc,cpk->bzyxpk", x.astype(self.dtype), kernel)
        x = x + (bias + spread_bias @ mix).astype(self.dtype)
        b, z, y, w = x.shape[:4]
        sz, sy, sx = self.stride
        x = x.reshape(b, z, y, w, sz, sy, sx, self.features).transpose(0, 1, 4, 2, 5, 3, 6, 7)
        return x.reshape(b, z * sz, y * sy, w * sx, self.features)
