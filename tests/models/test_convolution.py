from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from emjax.models.convolution import convolve, folded, native
from emjax.parallel.compile import jit

KERNELS = [(1, 3, 3), (3, 3, 3), (1, 5, 5)]


def _inputs(kernel_size, channels=3, features=4):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 6, 7, channels)).astype(np.float32)
    kernel = rng.normal(size=(*kernel_size, channels, features)).astype(np.float32)
    slope = rng.normal(size=(2, 5, 6, 7, features)).astype(np.float32)
    return x, kernel, slope


def _assert_near(found, wanted):
    """Equal to 1e-5 of the largest value."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def _value_and_gradients(fun, x, kernel, slope):
    value, pull = jax.vjp(fun, x, kernel)
    return value, *pull(slope)


def test_ones_count_the_neighbours():
    x = jnp.ones((1, 3, 3, 3, 1))
    out = folded(x, jnp.ones((3, 3, 3, 1, 1)))[0, ..., 0]
    np.testing.assert_allclose(out[1], [[12, 18, 12], [18, 27, 18], [12, 18, 12]])
    np.testing.assert_allclose(out[0], [[8, 12, 8], [12, 18, 12], [8, 12, 8]])


def test_one_tap_shifts_along_z():
    x = jnp.arange(4.0).reshape(1, 4, 1, 1, 1)
    kernel = jnp.zeros((3, 1, 1, 1, 1)).at[2].set(1.0)
    np.testing.assert_array_equal(folded(x, kernel).ravel(), [1, 2, 3, 0])


@pytest.mark.parametrize("kernel_size", KERNELS)
def test_folded_is_native(kernel_size):
    inputs = _inputs(kernel_size)
    pairs = [
        jit(lambda *a, fun=fun: _value_and_gradients(fun, *a))(*inputs) for fun in (folded, native)
    ]
    for found, wanted in zip(*pairs, strict=True):
        _assert_near(found, wanted)


@pytest.mark.parametrize("kernel_size", KERNELS)
def test_folded_is_native_in_a_scan(kernel_size):
    x, kernel, slope = _inputs(kernel_size, features=3)
    kernels = np.stack([kernel, kernel[::-1, ::-1]]) / 5

    def run(fun):
        def chain(x, kernels):
            return lax.scan(lambda carry, k: (jnp.tanh(fun(carry, k)), None), x, kernels)[0]

        return jit(lambda *a: _value_and_gradients(chain, *a))(x, kernels, slope)

    for found, wanted in zip(run(folded), run(native), strict=True):
        _assert_near(found, wanted)


@pytest.mark.parametrize("kernel_size", [*KERNELS, (1, 1, 1)])
def test_convolve_is_native(kernel_size):
    x, kernel, _ = _inputs(kernel_size)
    _assert_near(jit(convolve)(x, kernel), native(x, kernel))


def test_dtype_is_that_of_the_input():
    x, kernel, _ = _inputs((3, 3, 3))
    out = folded(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert out.dtype == jnp.bfloat16


def test_channels_that_do_not_fit():
    x, kernel, _ = _inputs((3, 3, 3))
    with pytest.raises((TypeError, ValueError), match="feature dimension"):
        folded(jnp.asarray(x[..., :2]), jnp.asarray(kernel))
