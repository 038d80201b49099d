from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from emjax.command_line import load_config
from emjax.config import plain
from emjax.parallel.compile import jit
from emjax.parallel.mesh import batch_sharding, make_mesh
from emjax.tasks import pretrain
from emjax.tasks.pretrain import Pretrain

from .small import VIT, norms, small_task, windows_for, without_degradation

BATCH = 4
TERMS = ("reconstruction", "contrastive", "cross")


@functools.cache
def _compiled(**overrides: Any) -> tuple[Pretrain, Any, dict[str, np.ndarray], Any]:
    """Task, parameters, batch, and (loss, metrics), gradients as a compiled function."""
    task = small_task(**{k: dict(VIT) if v == "vit" else v for k, v in overrides.items()})
    params = jit(task.init)(jax.random.key(0))
    batch = {"image": windows_for(task, overrides.get("data__batch_size", BATCH))}
    return task, params, batch, jit(jax.value_and_grad(task.loss, has_aux=True))


def _check_everything_learns(**overrides: Any) -> dict[str, float]:
    _, params, batch, step = _compiled(**overrides)
    (loss, metrics), gradients = step(params, batch, jax.random.key(1))
    assert np.isfinite(loss)
    assert set(params) == {"backbone", "projection", "matcher"}
    assert {name: n for name, n in norms(gradients).items() if not (np.isfinite(n) and n > 0)} == {}
    metrics = {name: float(value) for name, value in metrics.items()}
    assert set(metrics) == {f"{a}/{t}" for a in ("loss", "gradient_share", "weight") for t in TERMS}
    total = sum(metrics[f"loss/{t}"] * metrics[f"weight/{t}"] for t in TERMS)
    np.testing.assert_allclose(loss, total, rtol=1e-5)
    np.testing.assert_allclose(sum(metrics[f"gradient_share/{t}"] for t in TERMS), 1, rtol=1e-5)
    return metrics


def test_every_parameter_of_the_unet_learns():
    _check_everything_learns()


@pytest.mark.slow
def test_every_parameter_of_the_vit_learns(monkeypatch):
    without_degradation(monkeypatch)
    _check_everything_learns(model="vit")


def test_every_parameter_learns_with_channel_tokens_and_the_matcher_of_the_paper(monkeypatch):
    # 512 values a map instead of 4096: the paper's matcher has 64 times fewer parameters then.
    monkeypatch.setattr(pretrain, "POOLED_SIZE", (8, 8, 8))
    without_degradation(monkeypatch)
    _, params, batch, step = _compiled(loss__tokens="channel", loss__matcher="paper")
    assert set(params["projection"]) == set()
    assert params["matcher"]["query"]["kernel"].size == 512**2
    (loss, metrics), gradients = step(params, batch, jax.random.key(1))
    assert np.isfinite(loss) and all(float(metrics[f"loss/{name}"]) > 0 for name in TERMS)
    dead = [name for name, norm in norms(gradients).items() if not norm > 0]
    # A bias of the keys moves all logits of a query alike: softmax does not see it.
    assert all("key" in name and "bias" in name for name in dead), dead


def test_the_loss_is_a_function_of_the_key():
    _, params, batch, step = _compiled()
    same = [float(step(params, batch, jax.random.key(5))[0][0]) for _ in range(2)]
    assert same[0] == same[1]
    assert float(step(params, batch, jax.random.key(6))[0][0]) != same[0]


@pytest.mark.slow
def test_balance_gives_the_ratio_that_was_asked_for(monkeypatch):
    without_degradation(monkeypatch)
    weights = {"reconstruction": 1.0, "contrastive": 0.5, "cross": 0.25}
    metrics = _check_everything_learns(
        loss__balance="gradient", **{f"loss__{name}": w for name, w in weights.items()}
    )
    for name, weight in weights.items():
        share = metrics[f"gradient_share/{name}"]
        np.testing.assert_allclose(share, weight / sum(weights.values()), rtol=1e-3)


@pytest.mark.slow
def test_the_released_form_runs(monkeypatch):
    without_degradation(monkeypatch)
    task = small_task(
        augment={"recipe": "released"},
        loss__form="released",
        loss__negatives="sample",
        loss__kind="l1",
    )
    params = jit(task.init)(jax.random.key(0))
    loss, metrics = jit(task.loss)(params, {"image": windows_for(task, 2)}, jax.random.key(1))
    assert np.isfinite(loss) and all(np.isfinite(float(m)) for m in metrics.values())


def test_reconstruction_alone_needs_no_tokens(monkeypatch):
    without_degradation(monkeypatch)
    task = small_task(loss__contrastive=0.0, loss__cross=0.0)
    params = jit(task.init)(jax.random.key(0))
    loss, metrics = jit(task.loss)(params, {"image": windows_for(task, 2)}, jax.random.key(1))
    assert set(metrics) == {f"{n}/reconstruction" for n in ("loss", "gradient_share", "weight")}
    np.testing.assert_allclose(loss, metrics["loss/reconstruction"], rtol=1e-6)


@pytest.mark.slow
def test_sharded_equals_unsharded(monkeypatch):
    without_degradation(monkeypatch)
    task, params, batch, step = _compiled(data__batch_size=8)
    (loss, _), gradients = step(params, batch, jax.random.key(2))
    mesh = make_mesh({"data": 4, "fsdp": 2, "spatial": 1})

    def shard(leaf: jax.Array) -> jax.Array:
        axes = [None] * leaf.ndim
        # The last axis over fsdp where it can be split: parameters must not need to be whole.
        if leaf.ndim > 1 and leaf.shape[-1] % 2 == 0:
            axes[-1] = "fsdp"
        return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*axes)))

    with jax.set_mesh(mesh):
        sharded = jax.device_put(batch, batch_sharding(mesh))
        (found, _), slopes = jit(jax.value_and_grad(task.loss, has_aux=True))(
            jax.tree.map(shard, params), sharded, jax.random.key(2)
        )
        found = float(found)
        norm = float(optax.tree.norm(jax.device_get(slopes)))
    np.testing.assert_allclose(found, float(loss), rtol=1e-4)
    np.testing.assert_allclose(norm, float(optax.tree.norm(gradients)), rtol=1e-4)


def _learn_positions(monkeypatch: pytest.MonkeyPatch, steps: int, **overrides: Any) -> dict:
    """Trains a code of the position that never looks at the image, and the heads with it."""
    task = small_task(loss__temperature=0.1, loss__stop_gradient=False, **overrides)
    strides, channels = task.backbone.level_strides, task.backbone.level_channels
    cells = [
        tuple(a // b for a, b in zip(task.crop_size, stride, strict=True)) for stride in strides
    ]
    rng = np.random.default_rng(0)
    code = [
        jnp.asarray(rng.normal(size=(2, *size, c)), jnp.float32)
        for size, c in zip(cells, channels, strict=True)
    ]

    def blind(self: Pretrain, params: Any, views: Any) -> dict[str, Any]:
        batch = views.first.image.shape[0]
        output = jnp.zeros((2 * batch, *task.crop_size, 1))
        # One table for each view, the same for all crops.
        return {
            "pyramid": tuple(jnp.repeat(level, batch, axis=0) for level in params["code"]),
            "output": output,
        }

    without_degradation(monkeypatch)
    monkeypatch.setattr(Pretrain, "features", blind)
    params = jit(task.init)(jax.random.key(0))
    params = {name: params[name] for name in ("projection", "matcher")} | {"code": code}
    windows = windows_for(task, BATCH)
    optimiser = optax.adam(2e-2)

    def step(carry: Any, key: jax.Array) -> tuple[Any, dict]:
        params, state = carry
        slope = jax.value_and_grad(task.loss, has_aux=True)
        (_, metrics), gradients = slope(params, {"image": windows}, key)
        updates, state = optimiser.update(gradients, state)
        return (optax.apply_updates(params, updates), state), metrics

    keys = jax.random.split(jax.random.key(1), steps)
    run = jit(lambda p, k: jax.lax.scan(step, (p, optimiser.init(p)), k))
    _, metrics = run(params, keys)
    return {
        name: (float(v[:5].mean()), float(v[-40:].mean()))
        for name, v in jax.device_get(metrics).items()
    }


def test_a_code_of_the_position_does_not_solve_the_task(monkeypatch):
    metrics = _learn_positions(monkeypatch, 250, loss__negatives="global")
    floor = np.log(BATCH)
    for name in ("contrastive", "cross"):
        before, after = metrics[f"loss/{name}"]
        # Positions that are lost in a crop are told from fewer others: a little below log b.
        assert after < before and 0.85 * floor < after, (name, before, after)


def test_the_paper_preset_has_the_released_weights(monkeypatch):
    """1 of the reconstruction, 0.1 of the contrastive loss, and 0.5 of the matching in each direction."""
    values = plain(load_config("configs/pretrain.py:paper"))
    assert values["model"]["dtype"] == "float32"
    names = ("reconstruction", "contrastive", "cross")
    task = small_task(**{f"loss__{name}": values["loss"][name] for name in names})
    found = {
        "contrastive": {"w": 5.0, "s": 7.0},
        "cross": {"w": 2.0, "s": 3.0},
    }
    monkeypatch.setattr(Pretrain, "views", lambda *_: None)
    monkeypatch.setattr(Pretrain, "features", lambda *_: {"output": jnp.zeros(1)})
    monkeypatch.setattr(Pretrain, "_spatial_directions", lambda *_: lambda f, heads: "ws")
    monkeypatch.setattr(Pretrain, "_reconstruction", lambda *_: jnp.float32(0.25))
    monkeypatch.setattr(
        Pretrain, "_contrastive", lambda _, way: jnp.float32(found["contrastive"][way])
    )
    monkeypatch.setattr(Pretrain, "_cross", lambda _, heads, way: jnp.float32(found["cross"][way]))
    params = {"projection": {}, "matcher": {}}
    loss, _ = task.loss(params, {"image": jnp.zeros((1, 1, 1, 1))}, jax.random.key(0))
    released = 0.25 + 0.1 * (5 + 7) / 2 + 0.5 * 2 + 0.5 * 3
    np.testing.assert_allclose(loss, released, rtol=1e-6)
