"""The head: turns the finest decoder map into the output of a task."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.models.layers import STEM_KERNEL, Conv, activate


class Head(nn.Module):
    """A convolution in the section, then a map to the output channels in float32.

    Attributes:
        out_channels: number of output channels.
        activation: activation between the two.
        dtype: type of the first convolution's computation.
    """

    out_channels: int
    activation: str
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[b, z, y, x, c]` to logits `[b, z, y, x, out_channels]` float32."""
        x = Conv(x.shape[-1], STEM_KERNEL, dtype=self.dtype, name="conv")(x)
        x = activate(self.activation, x)
        return Conv(self.out_channels, (1, 1, 1), name="out")(x)
