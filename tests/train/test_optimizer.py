from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from emjax.errors import InputError
from emjax.train.optimizer import decay_mask, make_optimizer, make_schedule
from emjax.train.settings import TrainSettings

from .toy import toy_config


def _settings(**overrides):
    return dataclasses.replace(TrainSettings.from_config(toy_config()).optimizer, **overrides)


def test_cosine_schedule():
    schedule = make_schedule(_settings(learning_rate=1.0, final_learning_rate=0.1), 100)
    # Warm-up of 2 % = 2 updates: 1/3, 2/3, then the peak.
    np.testing.assert_allclose([schedule(i) for i in (0, 1, 2)], [1 / 3, 2 / 3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(schedule(2 + 49), 0.55, rtol=1e-6)
    np.testing.assert_allclose(schedule(100), 0.1, rtol=1e-6)


def test_paper_schedule():
    schedule = make_schedule(_settings(schedule="paper", learning_rate=1e-4), 500_000)
    expected = [1e-4, (1e-4 - 1e-5) * 0.5**1.5 + 1e-5, 1e-5, 1e-5]
    found = [float(schedule(i)) for i in (0, 100_000, 200_000, 500_000)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_constant_schedule():
    schedule = make_schedule(_settings(schedule="constant", learning_rate=0.5), 100)
    assert [float(schedule(i)) for i in (2, 50, 99)] == [0.5] * 3


def test_decay_mask():
    params = {
        "stem": {"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)},
        "blocks": {"norm": {"scale": jnp.ones((4, 3)), "bias": jnp.ones((4, 3))}},
        "positions": jnp.ones((5, 3)),
    }
    assert decay_mask(params) == {
        "stem": {"kernel": True, "bias": False},
        "blocks": {"norm": {"scale": False, "bias": False}},
        "positions": False,
    }


@pytest.mark.parametrize("name", ["adamw", "lamb", "sgd", "adam_released"])
def test_every_optimizer_descends(name):
    optimizer, _ = make_optimizer(_settings(name=name, learning_rate=0.02, schedule="constant"), 60)
    params = {"kernel": jnp.full((2, 2), 3.0)}
    state = optimizer.init(params)
    for _ in range(60):
        updates, state = optimizer.update(jax.tree.map(lambda p: 2 * p, params), state, params)
        params = optax.apply_updates(params, updates)
    assert float(jnp.abs(params["kernel"]).max()) < 2.5


def test_released_adam_equals_its_formula():
    settings = _settings(
        name="adam_released", schedule="paper", learning_rate=1e-4, weight_decay=0.1, clip_norm=0.0
    )
    optimizer, _ = make_optimizer(settings, 10)
    params = {"bias": jnp.array([0.5])}
    state = optimizer.init(params)
    updates, _ = optimizer.update({"bias": jnp.array([0.02])}, state, params)
    # First step: both bias-corrected moments are those of one gradient; the L2 term is part of it.
    gradient = 0.02 + 0.1 * 0.5
    np.testing.assert_allclose(updates["bias"], -1e-4 * gradient / (gradient + 0.01), rtol=1e-5)


def test_accumulated_batches_equal_one_large_one():
    gradients = [{"kernel": jnp.full((2, 2), g)} for g in (1.0, 3.0)]
    mean = {"kernel": jnp.full((2, 2), 2.0)}
    params = {"kernel": jnp.ones((2, 2))}
    large, _ = make_optimizer(_settings(), 5)
    small, _ = make_optimizer(_settings(accumulate_steps=2), 10)
    expected, _ = large.update(mean, large.init(params), params)
    state = small.init(params)
    first, state = small.update(gradients[0], state, params)
    second, state = small.update(gradients[1], state, params)
    assert not np.any(np.asarray(first["kernel"]))
    np.testing.assert_allclose(second["kernel"], expected["kernel"], rtol=1e-5)


def test_unknown_names():
    with pytest.raises(InputError, match="did you mean 'adamw'"):
        make_optimizer(_settings(name="adamm"), 10)
    with pytest.raises(InputError, match="did you mean 'cosine'"):
        make_optimizer(_settings(schedule="cosin"), 10)
