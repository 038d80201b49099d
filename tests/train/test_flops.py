"""FLOPs of products and convolutions, however they are wrapped."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from emjax.models.convolution import convolve
from emjax.train.flops import count_flops, training_flops

A, B = jnp.ones((3, 4, 5)), jnp.ones((3, 5, 6))
# 3 products of [4, 5] by [5, 6].
PRODUCT = 2 * 3 * 4 * 5 * 6


def product(a, b):
    return jnp.tanh(jnp.matmul(a, b)).sum()


def test_a_product_by_hand():
    assert count_flops(product, A, B) == PRODUCT
    assert training_flops(product, A, B) == 3 * PRODUCT


@pytest.mark.parametrize(
    "wrap", [jax.jit, jax.checkpoint, jax.vmap], ids=lambda wrap: wrap.__name__
)
def test_wrapped_programs_count_alike(wrap):
    assert count_flops(wrap(product), A, B) == PRODUCT


def test_a_loop_counts_each_turn():
    def looped(x, kernels):
        return jax.lax.scan(lambda x, kernel: (x @ kernel, None), x, kernels)[0]

    assert count_flops(looped, jnp.ones((2, 4)), jnp.ones((7, 4, 4))) == 7 * 2 * 2 * 4 * 4


def test_one_branch_of_several_counts():
    x = jnp.ones((8, 8))
    chosen = lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x, x)  # noqa: E731
    assert count_flops(chosen, x) == 2 * 8**3


def test_the_convolution_of_the_networks_counts_once():
    """One form for each platform, all of the same products."""
    x, kernel = jnp.ones((2, 4, 8, 8, 3)), jnp.ones((3, 5, 5, 3, 7))
    assert count_flops(convolve, x, kernel) == 2 * (2 * 4 * 8 * 8) * (3 * 5 * 5) * 3 * 7
