"""Which parameters learn, and how fast."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from emjax.errors import InputError
from emjax.models.build import build_backbone, init_params
from emjax.train.optimizer import make_optimizer
from emjax.train.rates import rate_multipliers
from emjax.train.settings import TrainSettings

from .toy import toy_config

LAYERS = (("stem", 1), ("encoder/blocks", 3), ("decoder/[a-z]+0", 1))


def _params():
    return {
        "backbone": {
            "stem": {"kernel": jnp.ones((2, 2))},
            "encoder": {"blocks": {"kernel": jnp.ones((3, 2, 2))}},
            "decoder": {"level0": {"kernel": jnp.ones(2)}, "merge0": {"bias": jnp.ones(2)}},
            "head": {"kernel": jnp.ones(2)},
        }
    }


def test_multipliers_by_hand():
    rates = rate_multipliers(_params(), LAYERS, 0.5, "")["backbone"]
    assert rates["head"]["kernel"] == 1.0
    assert rates["decoder"]["level0"]["kernel"] == rates["decoder"]["merge0"]["bias"] == 0.5
    blocks = rates["encoder"]["blocks"]["kernel"]
    assert blocks.shape == (3, 1, 1)
    np.testing.assert_allclose(blocks.ravel(), [0.5**4, 0.5**3, 0.5**2])
    assert rates["stem"]["kernel"] == 0.5**5


def test_one_rate_everywhere_unless_asked():
    assert set(jax.tree.leaves(rate_multipliers(_params(), LAYERS, 1.0, ""))) == {1.0}


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_frozen_parts_stay_and_do_not_clip_the_others(clip_norm):
    settings = dataclasses.replace(
        TrainSettings.from_config(toy_config()).optimizer,
        name="sgd",
        learning_rate=0.1,
        schedule="constant",
        warmup_fraction=0.0,
        weight_decay=0.1,
        betas=(0.0, 0.0),
        clip_norm=clip_norm,
        freeze="backbone/(stem|encoder), bias$",
    )
    params = _params()
    optimizer, _ = make_optimizer(settings, 10, LAYERS)
    gradient = jax.tree.map(jnp.zeros_like, params)
    gradient["backbone"]["stem"]["kernel"] += 1e6
    gradient["backbone"]["head"]["kernel"] += 0.5
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    moved = optax.apply_updates(params, updates)["backbone"]
    np.testing.assert_array_equal(moved["stem"]["kernel"], 1)
    np.testing.assert_array_equal(moved["encoder"]["blocks"]["kernel"], 1)
    np.testing.assert_array_equal(moved["decoder"]["merge0"]["bias"], 1)
    np.testing.assert_allclose(moved["head"]["kernel"], 1 - 0.1 * 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "unet", "widths": (4, 8, 12)},
        {
            "name": "vit",
            "patch_size": (1, 4, 4),
            "width": 12,
            "depth": 3,
            "heads": 2,
            "head_width": 4,
            "mlp_width": 8,
            "taps": (1,),
            "decoder_widths": (8, 4),
            "decoder_strides": ((1, 2, 2), (1, 2, 2)),
            "skips": "add",
        },
    ],
)
def test_every_parameter_of_a_network_has_its_layer(model):
    backbone = build_backbone(model)
    image = jnp.zeros((1, 2, 16, 16, 1))
    shapes = jax.eval_shape(lambda: init_params(backbone, jax.random.key(0), image))
    params = {"backbone": shapes}
    rates = rate_multipliers(params, backbone.layers, 0.5, "")["backbone"]
    assert set(jax.tree.leaves(rates.pop("head"))) == {1.0}
    assert all(np.max(rate) <= 0.5 for rate in jax.tree.leaves(rates))
    found = {float(r) for rate in jax.tree.leaves(rates) for r in np.ravel(rate)}
    count = sum(n for _, n in backbone.layers)
    np.testing.assert_allclose(sorted(found), 0.5 ** np.arange(count, 0, -1.0))


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("enkoder", "'enkoder' matches no parameter; .*backbone/encoder"),
        ("(", "no regular expression"),
    ],
)
def test_patterns_that_cannot_be_meant(freeze, message):
    with pytest.raises(InputError, match=message):
        rate_multipliers(_params(), LAYERS, 1.0, freeze)
