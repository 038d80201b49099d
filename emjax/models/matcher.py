"""Tokens made from features, and cross-attention between the tokens of two views."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.models.layers import Dense

PAPER_HEADS = 4


class TokenProjection(nn.Module):
    """Maps the features of each level to tokens of one size, with one linear map for each level, in float32.

    Attributes:
        size: dimensions of a token; 0: the features are the tokens, as in the paper.
    """

    size: int

    @nn.compact
    def __call__(self, features: Sequence[jax.Array]) -> list[jax.Array]:
        """Maps `[..., n, c_k]` of each level to `[..., n, size]`."""
        if self.size == 0:
            return list(features)
        return [
            Dense(self.size, name=f"level{k}")(x.astype(jnp.float32))
            for k, x in enumerate(features)
        ]


class Matcher(nn.Module):
    """One layer of cross-attention for both directions; re-expresses each query by the keys of the other view.

    It has no positions and no residual: a query can only be expressed by what is found in the other view.

    Attributes:
        size: dimensions of queries, keys and values; 0: as many as the tokens have (the paper's 4,096).
        heads: attention heads.
        normalize: whether a layer normalization of the tokens comes first (our choice; the paper has none).
    """

    size: int = 64
    heads: int = 4
    normalize: bool = True

    @nn.compact
    def __call__(self, queries: jax.Array, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Applies the attention.

        Args:
            queries: `[b, n, d]` tokens of one view.
            keys: `[b, m, d]` tokens of the other view of the same crops.

        Returns:
            The re-expressed queries `[b, n, d]` float32, and the attention `[b, n, m]`, the mean over heads.
        """
        width = queries.shape[-1]
        size = self.size or width
        queries, keys = queries.astype(jnp.float32), keys.astype(jnp.float32)
        if self.normalize:
            norm = nn.LayerNorm(name="norm")
            queries, keys = norm(queries), norm(keys)

        def split(name: str, x: jax.Array) -> jax.Array:
            x = Dense(size, name=name)(x)
            return x.reshape(*x.shape[:-1], self.heads, size // self.heads)

        query, key, value = split("query", queries), split("key", keys), split("value", keys)
        logits = jnp.einsum("bnhd,bmhd->bhnm", query, key) * (size // self.heads) ** -0.5
        attention = jax.nn.softmax(logits, axis=-1)
        out = jnp.einsum("bhnm,bmhd->bnhd", attention, value)
        out = Dense(width, name="out")(out.reshape(*out.shape[:2], size))
        return out, attention.mean(axis=1)
