"""The convolution of emjax: the same parameters on all platforms, computed in the form that is fast on each.

On a CPU, XLA computes 3D convolutions several times slower than 2D ones, and their gradients slower still. There, depth
is folded into the batch: a kernel of depth d is one 2D convolution to d times the channels, whose outputs are shifted
along z and summed. Accelerators use the native form. The form is chosen at lowering, without a branch at run time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

_PLANE = ("NHWC", "HWIO", "NHWC")
_VOLUME = ("NDHWC", "DHWIO", "NDHWC")


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves a volume with stride 1 and zero padding that keeps its size.

    Args:
        x: `[b, z, y, x, c]`.
        kernel: `[dz, dy, dx, c, k]`, odd sizes, the dtype of `x`.

    Returns:
        `[b, z, y, x, k]` in the dtype of `x`.
    """
    if kernel.shape[:3] == (1, 1, 1):
        return jnp.einsum("bzyxc,ck->bzyxk", x, kernel[0, 0, 0])
    return lax.platform_dependent(x, kernel, cpu=_folded, default=native)


def native(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's native convolution, for accelerators."""
    padding = [(size // 2, size // 2) for size in kernel.shape[:3]]
    return lax.conv_general_dilated(x, kernel, (1, 1, 1), padding, dimension_numbers=_VOLUME)


def folded(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution with depth folded into the batch, for CPUs."""
    return _folded(x, kernel)


@jax.custom_vjp
def _folded(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _fold(x, kernel)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _fold(x, kernel), (x, kernel)


def _backward(saved: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients, as convolutions whose fast form XLA's CPU compiler knows also inside loops.

    XLA rewrites the gradient of a kernel to its fast form only outside of loop bodies, so that form is written here.
    """
    x, kernel = saved
    depth, height, width, channels, features = kernel.shape
    batch, sections = x.shape[:2]
    x_slope = _fold(slope, jnp.flip(kernel, (0, 1, 2)).swapaxes(3, 4))
    shifted = [_shift(slope, depth // 2 - a) for a in range(depth)]
    slopes = jnp.concatenate(shifted, axis=-1) if depth > 1 else slope
    rows = batch * sections
    # The barriers keep XLA from fusing the transposes into the convolution, which would lose its fast form.
    left = lax.optimization_barrier(x.reshape(rows, *x.shape[2:]).transpose(3, 1, 2, 0))
    right = lax.optimization_barrier(slopes.reshape(rows, *slopes.shape[2:]).transpose(1, 2, 0, 3))
    padding = [(height // 2, height // 2), (width // 2, width // 2)]
    found = lax.conv_general_dilated(left, right, (1, 1), padding, dimension_numbers=_PLANE)
    found = found.reshape(channels, height, width, depth, features)
    return x_slope, found.transpose(3, 1, 2, 0, 4)


_folded.defvjp(_forward, _backward)


def _fold(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Applies one 2D convolution to `depth * k` channels, then sums its outputs, shifted along z."""
    depth, height, width, channels, features = kernel.shape
    batch, sections, *plane = x.shape[:4]
    kernel = kernel.transpose(1, 2, 3, 0, 4).reshape(height, width, channels, depth * features)
    padding = [(height // 2, height // 2), (width // 2, width // 2)]
    out = lax.conv_general_dilated(
        x.reshape(batch * sections, *x.shape[2:]),
        kernel,
        (1, 1),
        padding,
        dimension_numbers=_PLANE,
    ).reshape(batch, sections, *plane, depth, features)
    parts = [_shift(out[..., a, :], a - depth // 2) for a in range(depth)]
    return sum(parts[1:], parts[0])


def _shift(x: jax.Array, by: int) -> jax.Array:
    """Returns `x[:, z + by]`, zero beyond the ends; also where the kernel is deeper than the volume."""
    if by == 0:
        return x
    padding = [(0, 0, 0)] * x.ndim
    padding[1] = (-by, by, 0)  # negative padding crops
    return lax.pad(x, jnp.zeros((), x.dtype), padding)
