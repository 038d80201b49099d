"""Fixed statistics of normalization follow the batches, outside of the optimizer."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from emjax.models.build import build_backbone
from emjax.models.normalization import STATISTICS, Norm, NormAct
from emjax.parallel.compile import jit
from emjax.train import statistics
from emjax.train.state import TrainState
from emjax.train.step import make_step


def _tree(value):
    return {"norm0": {"running_mean": jnp.full(2, value), "scale": jnp.full(2, value)}}


def test_statistics_are_averaged_and_weights_are_those_of_the_optimizer():
    for count, rate in ((0, 1.0), (3, 0.25), (10_000, statistics.RATE)):
        moved = statistics.followed(_tree(7.0), _tree(5.0), _tree(2.0), jnp.int32(count))
        np.testing.assert_allclose(moved["norm0"]["running_mean"], 5 - rate * 2)
        np.testing.assert_allclose(moved["norm0"]["scale"], 7)


def test_difference_from_the_batch_is_no_gradient_of_the_weights():
    found = statistics.without(_tree(2.0))["norm0"]
    assert not np.any(found["running_mean"]) and np.all(found["scale"] == 2)


class _Layer(nn.Module):
    """One normalization, as a network."""

    norm: str = "running"
    learning: bool = False

    @nn.compact
    def __call__(self, x):
        return NormAct(Norm(self.norm, 1, self.learning), "relu", name="norm")(x)


@dataclasses.dataclass(frozen=True)
class _Task:
    backbone: Any

    def loss(self, params, batch, key):
        del key
        return jnp.square(self.backbone.apply({"params": params}, batch) - 3).mean(), {}


def test_a_step_moves_statistics_until_they_are_fixed():
    task: Any = _Task(_Layer())
    batch = np.random.default_rng(0).normal(5, 2, (2, 2, 4, 4, 3)).astype(np.float32)
    params = task.backbone.init(jax.random.key(0), batch)["params"]
    optimizer = optax.adamw(0.1, weight_decay=0.5)
    zero = jnp.zeros((), jnp.int32)
    state = TrainState(zero, params, optimizer.init(params), params, jax.random.key(0), zero)

    def step(task):
        return jit(make_step(task, optimizer, lambda count: 0.1, ema_decay=0.9))

    followed, _ = step(statistics.learning(task))(state, batch)
    found, average = followed.params["norm"], followed.ema["norm"]
    # The first batch is all that the average knows; the moving average of weights holds it, too.
    np.testing.assert_allclose(found["running_mean"], batch.mean((0, 1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found["running_variance"], batch.var((0, 1, 2, 3)), rtol=1e-4)
    share = average["running_mean"] / found["running_mean"]
    np.testing.assert_allclose(share, 0.9, rtol=1e-5)
    assert not np.allclose(found["scale"], params["norm"]["scale"])
    fixed, metrics = step(task)(followed, 3 * batch)
    for name in STATISTICS:
        np.testing.assert_array_equal(fixed.params["norm"][name], found[name])
    assert not np.allclose(fixed.params["norm"]["scale"], found["scale"])
    assert np.isfinite(metrics["gradient_norm"])


def test_only_networks_with_fixed_statistics_learn_them():
    @dataclasses.dataclass(frozen=True)
    class Task:
        backbone: Any

    for kind, fixed in (("group", False), ("running", True), ("calibrated", True)):
        task: Any = Task(build_backbone({"name": "unet", "norm": kind}))
        assert statistics.has_fixed(task) == fixed
    assert statistics.learning(task).backbone.learning and not task.backbone.learning
