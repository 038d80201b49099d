"""Fixed statistics of normalization follow the batches, outside of the optimizer."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from emjax.models.build import build_backbone
from emjax.train import statistics


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


def test_only_networks_with_fixed_statistics_learn_them():
    @dataclasses.dataclass(frozen=True)
    class Task:
        backbone: Any

    for kind, fixed in (("group", False), ("running", True), ("calibrated", True)):
        task: Any = Task(build_backbone({"name": "unet", "norm": kind}))
        assert statistics.has_fixed(task) == fixed
    assert statistics.learning(task).backbone.learning and not task.backbone.learning
