from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.models.layers import Conv, Dense, Upsample, elu, max_pool, repeat
from emjax.models.normalization import Norm, NormAct, norm_act
from emjax.parallel.compile import jit


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _randomised(params, seed=1):
    """Parameters without the zeros and ones of the initialisation."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)


def test_max_pool_by_hand():
    x = jnp.arange(8.0).reshape(1, 1, 2, 4, 1)
    np.testing.assert_array_equal(max_pool(x, (1, 2, 2)).ravel(), [5, 7])


@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2), (1, 1, 3)])
def test_max_pool_is_that_of_flax(stride):
    x = _normal(2, 4, 6, 6, 3)
    slope = _normal(2, 4 // stride[0], 6 // stride[1], 6 // stride[2], 3, seed=2)
    found, pull = jax.vjp(lambda x: max_pool(x, stride), x)
    wanted, pull_flax = jax.vjp(lambda x: nn.max_pool(x, stride, stride), x)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(pull(slope)[0], pull_flax(slope)[0])


def test_max_pool_of_a_size_that_does_not_divide():
    with pytest.raises(TypeError):
        max_pool(jnp.zeros((1, 1, 3, 4, 1)), (1, 2, 2))


@pytest.mark.parametrize(("channels", "groups"), [(8, 4), (6, 4), (7, 4), (5, 1)])
def test_norm_act_is_group_norm_and_elu(channels, groups):
    x = 3 * _normal(2, 3, 4, 5, channels) + 1
    layer = NormAct(Norm("group", groups), "elu")
    params = _randomised(layer.init(jax.random.key(0), x)["params"])
    divisor = {8: 4, 6: 3, 7: 1, 5: 1}[channels]
    reference = nn.GroupNorm(num_groups=divisor, epsilon=1e-5)
    wanted = jax.nn.elu(reference.apply({"params": params}, x))
    np.testing.assert_allclose(layer.apply({"params": params}, x), wanted, atol=1e-5)


def test_elu_is_that_of_jax():
    x = np.linspace(-30, 3, 1001, dtype=np.float32)
    np.testing.assert_allclose(elu(x), jax.nn.elu(x), atol=1e-6)
    slopes = [jax.vmap(jax.grad(f))(jnp.asarray(x)) for f in (elu, jax.nn.elu)]
    np.testing.assert_allclose(*slopes, atol=1e-6)


@pytest.mark.parametrize("activation", ["elu", "gelu"])
def test_norm_act_has_the_gradients_of_its_parts(activation):
    x, slope = 3 * _normal(2, 3, 4, 5, 8) + 1, _normal(2, 3, 4, 5, 8, seed=2)
    scale, bias = _normal(8, seed=3), _normal(8, seed=4)
    reference = nn.GroupNorm(num_groups=4, epsilon=1e-5)

    def parts(x, scale, bias):
        out = reference.apply({"params": {"scale": scale, "bias": bias}}, x)
        return getattr(jax.nn, activation)(out)

    def ours(x, scale, bias):
        return norm_act(x, scale, bias, 4, activation, 1e-5)

    found, wanted = (jax.vjp(f, x, scale, bias)[1](slope) for f in (ours, parts))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_gradient_of_norm_act_keeps_its_input_alone():
    x, ones = _normal(1, 4, 32, 32, 8), jnp.ones(8)
    depth = 6

    def chain(x):
        for _ in range(depth):
            x = norm_act(x, ones, ones, 4, "elu", 1e-5)
        return jnp.vdot(x, x)

    memory = jit(jax.grad(chain)).lower(x).compile().memory_analysis()
    # The inputs of all, and two arrays in work; the exponentials kept would be as many again.
    assert memory.temp_size_in_bytes < (depth + 2.5) * x.nbytes


def test_norm_act_of_an_unknown_activation():
    with pytest.raises(KeyError, match="swishy"):
        NormAct(Norm("group", 4), "swishy").init(jax.random.key(0), jnp.zeros((1, 1, 2, 2, 4)))


def test_repeat_is_numpy_repeat():
    x = _normal(2, 2, 3, 4, 3)
    wanted = x.repeat(2, 1).repeat(3, 2).repeat(2, 3)
    np.testing.assert_array_equal(repeat(x, (2, 3, 2)), wanted)


@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2), (1, 2, 3)])
def test_depth_to_space_is_a_transposed_convolution(stride):
    x = _normal(2, 2, 3, 2, 4)
    layer = Upsample(5, stride, "depth_to_space")
    params = _randomised(layer.init(jax.random.key(0), x)["params"])
    b, z, y, w, channels = x.shape
    sz, sy, sx = stride
    # Depthwise: each voxel writes its value times the kernel into the block under it.
    spread = np.asarray(params["spread"]).reshape(sz, sy, sx, channels)
    wide = np.zeros((b, z * sz, y * sy, w * sx, channels), np.float32)
    for i, j, k in np.ndindex(z, y, w):
        for p, q, r in np.ndindex(sz, sy, sx):
            wide[:, i * sz + p, j * sy + q, k * sx + r] += x[:, i, j, k] * spread[p, q, r]
    wide += np.asarray(params["spread_bias"])
    wanted = wide @ np.asarray(params["kernel"]) + np.asarray(params["bias"])
    np.testing.assert_allclose(layer.apply({"params": params}, x), wanted, atol=1e-4)


def test_resize_mixes_and_repeats():
    x = _normal(1, 2, 3, 2, 4)
    layer = Upsample(5, (1, 2, 2), "resize")
    params = _randomised(layer.init(jax.random.key(0), x)["params"])
    assert set(params) == {"kernel", "bias"}
    wide = x.repeat(2, 2).repeat(2, 3)
    wanted = wide @ np.asarray(params["kernel"]) + np.asarray(params["bias"])
    np.testing.assert_allclose(layer.apply({"params": params}, x), wanted, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [(1, 3, 3), (3, 3, 3)])
def test_copies_are_what_the_input_would_be_beside_itself(kernel_size):
    x = _normal(2, 3, 6, 7, 4)
    beside = Conv(5, kernel_size)
    params = _randomised(beside.init(jax.random.key(0), jnp.concatenate([x, x, x], -1)))
    once = Conv(5, kernel_size, copies=3)
    alike = jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, once.init(jax.random.key(0), x)
    )
    assert alike

    def total(layer, input_of):
        return lambda p, x: (layer.apply(p, input_of(x)) ** 2).sum()

    wanted = jax.value_and_grad(
        total(beside, lambda x: jnp.concatenate([x, x, x], -1)), argnums=(0, 1)
    )(params, x)
    found = jax.value_and_grad(total(once, lambda x: x), argnums=(0, 1))(params, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-2), found, wanted)


def test_dense_is_a_product():
    x = _normal(2, 3, 4)
    layer = Dense(5)
    params = _randomised(layer.init(jax.random.key(0), x)["params"])
    wanted = x @ np.asarray(params["kernel"]) + np.asarray(params["bias"])
    np.testing.assert_allclose(layer.apply({"params": params}, x), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        Conv(4, (3, 3, 3), dtype=jnp.bfloat16),
        NormAct(Norm("group", 4), "relu", jnp.bfloat16),
        Dense(4, dtype=jnp.bfloat16),
        Upsample(4, (1, 2, 2), "depth_to_space", jnp.bfloat16),
        Upsample(4, (1, 2, 2), "resize", jnp.bfloat16),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_bfloat16_keeps_float32_parameters(layer):
    out, variables = layer.init_with_output(jax.random.key(0), _normal(1, 2, 4, 4, 4))
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
