"""Normalization followed by the activation: by statistics of the input, or by fixed ones that make it an affine map.

| `model.norm` | statistics in training | in prediction |
|---|---|---|
| `group` | of each crop and group of channels | of each tile: a voxel depends on its whole tile |
| `layer` | of the channels of each voxel | the same |
| `running` | of each channel over the batch, later the fixed ones | fixed: a running average over the training |
| `calibrated` | as `group`, later the fixed ones | fixed: a running average over the training |

Fixed statistics are parameters, `running_mean` and `running_variance`. Their gradient is defined as the difference from
the statistics of the batch, so that a step which subtracts a part of it takes a running average
(`emjax.train.statistics`); everything stays a pure function of parameters and input.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.models.layers import activate

# Values of `model.norm`; the first is that of checkpoints from before there was a choice.
NORMS = ("group", "layer", "running", "calibrated")
# Those with fixed statistics.
FIXED = ("running", "calibrated")
# How many deviations a mean may be from 0 before squares are summed about the mean: a relative error of 0.1 % at most.
FAR = 100.0
# Names of the parameters that hold fixed statistics.
STATISTICS = ("running_mean", "running_variance")


class Norm(NamedTuple):
    """How the layers of a network normalize.

    Attributes:
        kind: a name of `NORMS`.
        groups: largest number of groups of 'group' and 'calibrated'.
        learning: whether 'running' and 'calibrated' use statistics of the input, and follow them.
    """

    kind: str
    groups: int
    learning: bool = False

    def groups_of(self, channels: int) -> int:
        """Returns the largest divisor of the channels up to `groups`; with 'running', every channel is a group."""
        if self.kind == "running":
            return channels
        return max(g for g in range(1, self.groups + 1) if channels % g == 0)


class NormAct(nn.Module):
    """Normalization and activation in one layer.

    Attributes:
        norm: how the layer normalizes.
        activation: a name of `ACTIVATIONS`.
        dtype: type of the output.
        epsilon: added to the variance.
    """

    norm: Norm
    activation: str
    dtype: jnp.dtype = jnp.float32
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to the same shape."""
        kind, channels = self.norm.kind, x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        act = functools.partial(activate, self.activation)
        if kind == "layer":
            wide = x.astype(jnp.float32)
            centred = wide - wide.mean(-1, keepdims=True)
            variance = jnp.square(centred).mean(-1, keepdims=True)
            out = act(centred * jax.lax.rsqrt(variance + self.epsilon) * scale + bias)
            return jnp.asarray(out, self.dtype)
        groups = self.norm.groups_of(channels)
        if kind == "group":
            out = norm_act(x, scale, bias, groups, self.activation, self.epsilon)
            return jnp.asarray(out, self.dtype)
        mean = self.param(STATISTICS[0], nn.initializers.zeros, (channels,))
        variance = self.param(STATISTICS[1], nn.initializers.ones, (channels,))
        if self.norm.learning:
            options = (groups, self.activation, self.epsilon, kind == "running")
            out = tracked_norm_act(x, scale, bias, mean, variance, *options)
            return jnp.asarray(out, self.dtype)
        mean, variance = jax.lax.stop_gradient((mean, variance))
        factor = scale * jax.lax.rsqrt(variance + self.epsilon)
        # An affine map, which the compiler joins with what comes before and after.
        return jnp.asarray(act((x.astype(jnp.float32) - mean) * factor + bias), self.dtype)


def norm_act(
    x: jax.Array, scale: jax.Array, bias: jax.Array, groups: int, activation: str, epsilon: float
) -> jax.Array:
    """Group normalization, scale, bias and activation, in one pass for the sums and one pass for the result.

    Only the input and the sums are kept for the gradient, which recomputes everything else: a pass over memory costs
    more than the arithmetic.

    Args:
        x: `[b, z, y, x, c]`.
        scale: `[c]`.
        bias: `[c]`.
        groups: number of groups of channels, a divisor of c.
        activation: a name of `ACTIVATIONS`.
        epsilon: added to the variance.

    Returns:
        `[b, z, y, x, c]` in the dtype of `x`.
    """
    zeros = jnp.zeros_like(scale)
    return tracked_norm_act(x, scale, bias, zeros, zeros, groups, activation, epsilon, False)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6, 7, 8))
def tracked_norm_act(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    groups: int,
    activation: str,
    epsilon: float,
    whole_batch: bool,
) -> jax.Array:
    """As `norm_act`; the gradients of `mean` and `variance`, `[c]`, are their differences from those of the input.

    Args:
        x: `[b, z, y, x, c]`.
        scale: `[c]`.
        bias: `[c]`.
        mean: `[c]`, running average of the mean; has no influence on the result.
        variance: `[c]`, running average of the variance; has none, either.
        groups: number of groups of channels, a divisor of c.
        activation: a name of `ACTIVATIONS`.
        epsilon: added to the variance.
        whole_batch: whether the statistics are of all rows together.
    """
    return _forward(x, scale, bias, mean, variance, groups, activation, epsilon, whole_batch)[0]


def _forward(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    groups: int,
    activation: str,
    epsilon: float,
    whole_batch: bool,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    wide = x.astype(jnp.float32)
    middle, total, squares = _sums(wide, groups, whole_batch)
    factor, shift = _affine(total, squares, scale, bias, x.size // total.size, groups, epsilon)
    # Nothing is subtracted from the whole volume, which would be a pass of its own.
    out = activate(activation, wide * factor + (shift - middle * factor)).astype(x.dtype)
    return out, (x, middle, total, squares, scale, bias, mean, variance)


def _backward(
    groups: int,
    activation: str,
    epsilon: float,
    whole_batch: bool,
    saved: tuple[jax.Array, ...],
    slope: jax.Array,
) -> tuple[jax.Array, ...]:
    x, middle, total, squares, scale, bias, mean, variance = saved
    # Without the barrier, XLA would notice that the forward pass has computed the same, and keep it in memory.
    x = jax.lax.optimization_barrier(x)
    count = x.size // total.size
    (factor, shift), pull = jax.vjp(
        lambda total, squares, scale, bias: _affine(
            total, squares, scale, bias, count, groups, epsilon
        ),
        total,
        squares,
        scale,
        bias,
    )
    wide = x.astype(jnp.float32)
    _, pull_activation = jax.vjp(
        functools.partial(activate, activation), wide * factor + (shift - middle * factor)
    )
    (slope,) = pull_activation(slope.astype(jnp.float32))
    # By the chain rule through the two sums, to both of which each voxel contributes. The result does not depend on
    # `middle`, so that it has no gradient.
    slopes = _sum_space(slope, whole_batch)
    pulled = _sum_space(slope * wide, whole_batch) - middle * slopes, slopes
    to_sum, to_square, to_scale, to_bias = pull(pulled)
    out = slope * factor + (to_sum - 2 * to_square * middle) + 2 * to_square * wide
    about, variances = _moments(total, squares, count, groups)
    rows = (0, 1, 2, 3)
    means = (middle + about).mean(rows)
    return out.astype(x.dtype), to_scale, to_bias, mean - means, variance - variances.mean(rows)


tracked_norm_act.defvjp(_forward, _backward)


def _sums(x: jax.Array, groups: int, whole_batch: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns a value of each channel's group, and the sums of differences from it and of their squares.

    Each is `[b or 1, 1, 1, 1, c]`. Squares are summed about a value near the mean where that matters: about 0 they lose
    digits where the mean is some hundred times the deviation.

    Args:
        x: `[b, z, y, x, c]` float32.
        groups: number of groups of channels.
        whole_batch: whether all rows are summed together.
    """

    def about(middle: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        apart = x - middle
        return middle, _sum_space(apart, whole_batch), _sum_space(jnp.square(apart), whole_batch)

    def about_a_few(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        few = x[tuple(slice(n // 4, None, max(1, n // 2)) for n in (1, *x.shape[1:4]))]
        few = few.mean((0, 1, 2, 3) if whole_batch else (1, 2, 3), keepdims=True)
        return about(_group_means(few, groups))

    def about_zero_if_near(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        sums, squares = _sum_space(x, whole_batch), _sum_space(jnp.square(x), whole_batch)
        mean, variance = _moments(sums, squares, x.size // sums.size, groups)
        far = jnp.any(jnp.square(mean) > FAR**2 * variance)
        near = (jnp.zeros_like(sums), sums, squares)
        return jax.lax.cond(far, lambda: about(mean), lambda: near)

    # XLA subtracts and sums in one pass on accelerators, and in two on CPUs, where that takes half as long again.
    return jax.lax.platform_dependent(x, cpu=about_zero_if_near, default=about_a_few)


def _sum_space(x: jax.Array, whole_batch: bool) -> jax.Array:
    """Sums over space first, as a reshape that splits the channels of the whole volume costs a pass of its own."""
    return x.sum((0, 1, 2, 3) if whole_batch else (1, 2, 3), keepdims=True)


def _moments(
    sums: jax.Array, squares: jax.Array, count: int, groups: int
) -> tuple[jax.Array, jax.Array]:
    """Returns mean and variance of each channel's group, `[b or 1, 1, 1, 1, c]`.

    Args:
        sums: sums of each channel over `count` voxels.
        squares: sums of the squares.
        count: number of voxels.
        groups: number of groups of channels.
    """
    mean = _group_means(sums, groups) / count
    return mean, jnp.maximum(_group_means(squares, groups) / count - jnp.square(mean), 0.0)


def _group_means(x: jax.Array, groups: int) -> jax.Array:
    """Replaces the channels of `[b, 1, 1, 1, c]` by the mean of their group."""
    if groups == x.shape[-1]:
        return x
    means = x.reshape(len(x), groups, -1).mean(-1, keepdims=True)
    return jnp.broadcast_to(means, (len(x), groups, x.shape[-1] // groups)).reshape(x.shape)


def _affine(
    sums: jax.Array,
    squares: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    count: int,
    groups: int,
    epsilon: float,
) -> tuple[jax.Array, jax.Array]:
    """Returns the factor and shift of each channel, `[b or 1, 1, 1, 1, c]`, from the sums that `_moments` reads."""
    mean, variance = _moments(sums, squares, count, groups)
    factor = scale * jax.lax.rsqrt(variance + epsilon)
    return factor, bias - mean * factor
