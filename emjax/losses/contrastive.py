"""Contrastive losses between the tokens of two views.

Written for global arrays: under a mesh, tokens sharded over the batch are compared with the tokens of all
devices, and the compiler adds the communication.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from emjax.errors import InputError

# Keeps the direction of a zero vector, and its gradient, finite; far below the square of any feature.
_TINY = 1e-12


class _Rows(NamedTuple):
    """Queries that are compared with all keys in one block."""

    queries: jax.Array  # [r, d], unit length
    weights: jax.Array  # [r]
    group: jax.Array  # [r]
    index: jax.Array  # [r] column of the query's own key


def nce(
    queries: jax.Array,
    keys: jax.Array,
    *,
    temperature: float = 0.1,
    weights: jax.Array | None = None,
    group: jax.Array | None = None,
    row_chunk: int = 0,
) -> jax.Array:
    """Noise-contrastive loss over the full matrix of cosines, positives on its diagonal.

    The mean over queries of `-log(exp(c_ii / t) / sum_j exp(c_ij / t))`, in float32. All other keys
    are negatives, with two exceptions: keys of weight 0, and keys of the same group.

    Negatives decide what is learnt. If the rows hold only one crop, or views that are cut alike, a code of the position
    that never looks at the image reaches a loss of 0. If the rows hold the same positions of `b` crops, such a code
    gives all of them the same query, and the mean of the loss cannot fall below `log b`
    (`tests/losses/test_position_shortcut.py`).

    Args:
        queries: `[n, d]` tokens of one view; only their direction counts.
        keys: `[n, d]` tokens of the other view.
        temperature: the cosines are divided by it before the softmax.
        weights: `[n]` weight of each pair in the mean; None is all ones. A pair of weight 0 is neither a positive nor a
            negative and may hold anything, NaN included. If all weights are 0 the loss is 0.
        group: `[n]` integers; a key of the query's group that is not its positive is no negative either, for example
            tokens of one position on several levels. None: each pair is a group of its own.
        row_chunk: number of rows of the matrix computed at once (and again in the backward pass), so that memory grows
            as `row_chunk * n`; 0 computes all `n * n` at once. Rows are dealt out to the blocks, so that each device
            has its share of every block.

    Returns:
        Scalar, float32.

    Raises:
        InputError: if shapes differ, or the temperature or row_chunk is out of range.

    Source: the figure of arXiv:2308.09917 (the released code has no negatives, see `released_nce`);
    weights, groups and negatives from the whole batch are our choice.
    """
    _check(queries, keys, temperature)
    if row_chunk < 0:
        raise InputError(
            f"loss.row_chunk={row_chunk} is negative; give a number of rows, 0 for all"
        )
    count = queries.shape[0]
    weights = jnp.ones(count, jnp.float32) if weights is None else weights.astype(jnp.float32)
    group = jnp.arange(count) if group is None else group
    columns = jnp.arange(count)
    used = weights > 0
    # The features of unused tokens are dropped before anything is computed: zero times NaN is NaN
    # in a gradient.
    keys = _direction(jnp.where(used[:, None], keys, 0))
    rows = _Rows(_direction(jnp.where(used[:, None], queries, 0)), weights, group, columns)

    def weighted_sum(block: _Rows) -> jax.Array:
        cosines = jnp.matmul(
            block.queries,
            keys.T,
            # Bfloat16 products, the default of some devices, err by several percent after division
            # by 0.1.
            precision=jax.lax.Precision.HIGH,
            preferred_element_type=jnp.float32,
        )
        logits = cosines / temperature
        positive = block.index[:, None] == columns
        negative = used & (block.group[:, None] != group)
        # The positive is always among the candidates, so that no row is empty.
        candidates = jnp.where(positive | negative, logits, -jnp.inf)
        matched = jnp.sum(jnp.where(positive, logits, 0.0), axis=1)
        return jnp.sum(block.weights * (jax.nn.logsumexp(candidates, axis=1) - matched))

    if row_chunk == 0 or row_chunk >= count:
        total = weighted_sum(rows)
    else:
        blocks = _strided_blocks(rows, math.ceil(count / row_chunk))
        total = jnp.sum(jax.lax.map(jax.checkpoint(weighted_sum, prevent_cse=False), blocks))
    return total / jnp.maximum(jnp.sum(weights), 1e-6)


def released_nce(
    queries: jax.Array,
    keys: jax.Array,
    *,
    temperature: float = 0.1,
    weights: jax.Array | None = None,
) -> jax.Array:
    """The contrastive loss of the paper's released code, for ablations only: it has no negatives.

    It takes the matched cosines `c_i` alone and returns `logsumexp(c / t) - mean(c) / t`, which is
    least, log n, at any constant cosine: views that match perfectly are worth no more than views
    that do not match at all.

    Args:
        queries: `[n, d]` tokens of one view.
        keys: `[n, d]` tokens of the other view.
        temperature: cosines are divided by it.
        weights: `[n]`; pairs of weight 0 are left out, the others count by their weight in the
            mean.

    Returns:
        Scalar, float32; 0 where all weights are 0.

    Source: what the code released with arXiv:2308.09917 computes; the weights are our choice.
    """
    _check(queries, keys, temperature)
    count = queries.shape[0]
    weights = jnp.ones(count, jnp.float32) if weights is None else weights.astype(jnp.float32)
    used = weights > 0
    queries = _direction(jnp.where(used[:, None], queries, 0))
    keys = _direction(jnp.where(used[:, None], keys, 0))
    logits = jnp.sum(queries * keys, axis=1) / temperature
    # Without any pair, the sum runs over all pairs only to stay finite; its weight is 0.
    candidates = jnp.where(used | ~jnp.any(used), logits, -jnp.inf)
    losses = jax.nn.logsumexp(candidates) - logits
    return jnp.sum(weights * losses) / jnp.maximum(jnp.sum(weights), 1e-6)


def _check(queries: jax.Array, keys: jax.Array, temperature: float) -> None:
    if queries.ndim != 2 or queries.shape != keys.shape:
        raise InputError(
            f"queries {queries.shape} and keys {keys.shape} must both be [n, d]; "
            "row i of one matches row i of the other"
        )
    if not temperature > 0:
        raise InputError(f"loss.temperature={temperature} is not positive; the paper has 0.1")


def _direction(tokens: jax.Array) -> jax.Array:
    """Returns each row scaled to unit length, in float32."""
    tokens = tokens.astype(jnp.float32)
    return tokens * jax.lax.rsqrt(jnp.sum(jnp.square(tokens), axis=1, keepdims=True) + _TINY)


def _strided_blocks(rows: _Rows, blocks: int) -> _Rows:
    """Deals rows out to blocks, `[n, ...]` to `[blocks, rows, ...]`, padding with weight 0."""
    count = rows.weights.shape[0]
    size = math.ceil(count / blocks)

    def deal(values: jax.Array) -> jax.Array:
        padding = [(0, size * blocks - count)] + [(0, 0)] * (values.ndim - 1)
        # Neighbouring rows go to different blocks. Contiguous blocks would each lie on one device.
        return jnp.moveaxis(jnp.pad(values, padding).reshape(size, blocks, *values.shape[1:]), 1, 0)

    return _Rows(*map(deal, rows))
