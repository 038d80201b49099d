"""Normalization by statistics of the input, of a voxel's channels, and by fixed ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.models.build import apply, build_backbone, init_params
from emjax.models.normalization import Norm, NormAct
from emjax.parallel.compile import jit


def _draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _layer(kind, learning=False):
    return NormAct(Norm(kind, 2, learning), "relu")


def _params(mean, variance):
    ones = jnp.ones(4)
    return {
        "scale": 2 * ones,
        "bias": ones,
        "running_mean": mean * ones,
        "running_variance": variance * ones,
    }


def test_running_is_normalized_by_the_batch_and_follows_it():
    x = 3 * _draw(2, 3, 4, 5, 4) + np.arange(4, dtype=np.float32)
    mean, variance = x.mean((0, 1, 2, 3)), x.var((0, 1, 2, 3))
    layer, params = _layer("running", True), _params(0.5, 1.0)
    wanted = jax.nn.relu(2 * (x - mean) / np.sqrt(variance + 1e-5) + 1)
    np.testing.assert_allclose(layer.apply({"params": params}, x), wanted, atol=1e-5)
    slopes = jax.grad(lambda p: layer.apply({"params": p}, x).sum())(params)
    np.testing.assert_allclose(slopes["running_mean"], 0.5 - mean, atol=1e-5)
    np.testing.assert_allclose(slopes["running_variance"], 1 - variance, rtol=1e-5)


def test_calibrated_follows_the_groups_of_each_crop():
    x = 3 * _draw(2, 3, 4, 5, 4) + np.arange(4, dtype=np.float32)
    params, layer = _params(0.0, 1.0), _layer("calibrated", True)
    group = {name: params[name] for name in ("scale", "bias")}
    wanted = _layer("group").apply({"params": group}, x)
    np.testing.assert_allclose(layer.apply({"params": params}, x), wanted, atol=1e-5)
    parts = x.reshape(2, -1, 2, 2)
    mean = np.repeat(parts.mean((1, 3)).mean(0), 2)
    slopes = jax.grad(lambda p: layer.apply({"params": p}, x).sum())(params)
    np.testing.assert_allclose(slopes["running_mean"], -mean, atol=1e-5)


@pytest.mark.parametrize("kind", ["running", "calibrated"])
def test_fixed_statistics_are_an_affine_map_and_do_not_move(kind):
    x, params = _draw(1, 2, 3, 3, 4), _params(0.5, 4.0)
    out = _layer(kind).apply({"params": params}, x)
    wanted = jax.nn.relu(2 * (x - 0.5) / np.sqrt(4 + 1e-5) + 1)
    np.testing.assert_allclose(out, wanted, atol=1e-6)
    slopes = jax.grad(lambda p: _layer(kind).apply({"params": p}, x).sum())(params)
    assert not np.any(slopes["running_mean"]) and not np.any(slopes["running_variance"])


@pytest.mark.parametrize("kind", ["group", "running", "calibrated"])
def test_digits_are_kept_where_the_mean_is_thousands_of_deviations(kind):
    x = _draw(2, 4, 8, 8, 4)
    far = (x + 3000).astype(np.float64)  # what float32 makes of it is what is normalized
    axes = (0, 1, 2, 3) if kind == "running" else (1, 2, 3)
    parts = far if kind == "running" else far.reshape(2, 4, 8, 8, 2, 2)
    axes = axes if kind == "running" else (*axes, 5)
    mean, deviation = parts.mean(axes, keepdims=True), parts.std(axes, keepdims=True)
    wanted = jax.nn.relu(((parts - mean) / deviation).reshape(x.shape) * 2 + 1)
    params = _params(0.0, 1.0)
    if kind == "group":
        params = {name: params[name] for name in ("scale", "bias")}
    out = _layer(kind, True).apply({"params": params}, x + np.float32(3000))
    np.testing.assert_allclose(out, wanted, atol=0.003)


def test_statistics_are_those_of_the_batch_on_all_devices():
    """Split by rows and by y among eight devices, output and statistics are those of one device."""
    x = 3 * _draw(4, 2, 4, 4, 4) + np.arange(4, dtype=np.float32)
    params, layer = _params(0.5, 1.0), _layer("running", True)

    def run(params, x):
        return jax.value_and_grad(lambda p: layer.apply({"params": p}, x).mean())(params)

    mesh = jax.make_mesh((4, 2), ("data", "spatial"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data", None, "spatial"))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        jit(run)(params, jax.device_put(x, rows)),
        run(params, x),
    )


def test_layer_normalizes_the_channels_of_each_voxel():
    x = _draw(1, 2, 3, 3, 4)
    params = {"scale": jnp.ones(4), "bias": jnp.zeros(4)}
    centred = x - x.mean(-1, keepdims=True)
    wanted = jax.nn.relu(centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5))
    np.testing.assert_allclose(_layer("layer").apply({"params": params}, x), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["running", "calibrated", "layer", "group"])
def test_only_a_group_reaches_beyond_the_footprint(kind):
    fields = {"widths": (2, 4), "kernels": ((1, 1, 1),), "strides": ((1, 2, 2),)}
    backbone = build_backbone({"name": "unet", "norm": kind, **fields})
    crop = (1, 64, 64)
    params = init_params(backbone, jax.random.key(0), jnp.zeros((1, *crop, 1)))
    x = _draw(1, *crop, 1)
    changed = x.copy()
    changed[0, 0, 32, 32] += 3
    run = jit(lambda x: apply(backbone, params, x)["output"])
    moved = np.argwhere(np.any(np.asarray(run(x) != run(changed)), -1)[0])
    beyond = np.abs(moved - (0, 32, 32)).max(0) > backbone.footprint.halo
    assert len(moved) and beyond.any() == (kind == "group")
