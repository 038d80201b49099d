"""Whether unequal colours survive a training, on synthetic membranes: a small network, a low rate and few steps."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from emjax.attribution.gradients import slopes
from emjax.attribution.score import make_score
from emjax.attribution.sections import asymmetry, section_shares
from emjax.losses.dense import bce, dice
from emjax.weights.inflate import inflate

RATE, STEPS, BATCHES, BATCH, SIDE, WIDTH = 5e-5, 150, 30, 8, 24, 8
# How much of a first kernel of photographs each colour has: red, green, blue.
COLOURS = np.array([0.7, 1, 0.4])


def _membranes(count, seed):
    """Stacks `[count, 3, y, x, 1]` with membranes that move a little along z, and the labels of the middle."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(count, 3, SIDE, SIDE)), (0, 2.5, 3, 3))
    labels = np.abs(field) < 0.35 * field.std((1, 2, 3), keepdims=True)
    x = np.where(labels, 0.35, 0.65) + rng.normal(0, 0.12, labels.shape)
    return x[..., None].astype(np.float32), labels[:, 1:2, :, :, None].astype(np.float32)


def _params(fill):
    rng = np.random.default_rng(0)
    first = rng.normal(0, 1, (5, 5, 1, WIDTH)) * COLOURS[:, None] / 5
    later = [rng.normal(0, 1, (3, 3, WIDTH, n)) / np.sqrt(9 * WIDTH) for n in (WIDTH, 1)]
    kernels = [inflate(first, 3, fill)[:, :, :, 0].transpose(1, 2, 0, 3), *later]
    return [jnp.asarray(kernel, jnp.float32) for kernel in kernels]


def _net(params, x):
    """Logits `[b, 1, y, x, 1]` of the middle section: three convolutions and two normalizations."""
    y = (x[..., 0] - 0.5).transpose(0, 2, 3, 1) / 0.2
    for number, kernel in enumerate(params):
        if number:
            y = jax.nn.relu(
                (y - y.mean((1, 2, 3), keepdims=True)) / y.std((1, 2, 3), keepdims=True)
            )
        dimensions = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(y, kernel, (1, 1), "SAME", dimension_numbers=dimensions)
    return y[:, None]


@jax.jit
def _step(state, x, y):
    """A step of Adam, written out."""

    def loss(params):
        logits = _net(params, x)
        return bce(logits, y, jnp.ones_like(y)) + dice(logits, y, jnp.ones_like(y))

    params, first, second, number = state
    slope = jax.grad(loss)(params)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, slope)

    def moved(p, m, v):
        return p - RATE * m / (1 - 0.9**number) / (jnp.sqrt(v / (1 - 0.999**number)) + 1e-8)

    return jax.tree.map(moved, params, first, second), first, second, number + 1


def _train(params, x, labels):
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = (params, zeros, zeros, jnp.float32(1))
    for number in range(STEPS):
        batch = slice(BATCH * (number % BATCHES), BATCH * (number % BATCHES + 1))
        state = _step(state, x[batch], labels[batch])
    return state[0]


@jax.jit
def _explain(params, x, labels):
    score = make_score(functools.partial(_net, params), labels[..., 0], 0)
    return _net(params, x), slopes(score, x)


@pytest.fixture(scope="module")
def trained():
    """Fill -> neighbour ratio before and after, and Dice on stacks that were not trained on."""
    x, labels = (jnp.asarray(a) for a in _membranes(BATCHES * BATCH, 1))
    new, truth = (jnp.asarray(a) for a in _membranes(32, 2))
    found = {}
    for fill in ("rgb", "uniform_g"):
        params, ratios = _params(fill), []
        for now in (params, _train(params, x, labels)):
            logits, slope = _explain(now, new, truth)
            shares = section_shares(np.asarray(slope)[..., 0])
            ratios.append(asymmetry(shares).neighbour_ratio.value)
        both = float(((logits > 0) * truth).sum())
        found[fill] = *ratios, 2 * both / float((logits > 0).sum() + truth.sum())
    return found


def test_unequal_colours_stay_unequal_and_equal_ones_equal(trained):
    before, after, _ = trained["rgb"]
    assert before > 1.5 and after >= 1.3
    before, after, _ = trained["uniform_g"]
    assert before < 1.001 and after <= 1.05


def test_equal_colours_cost_no_accuracy(trained):
    assert trained["uniform_g"][2] >= trained["rgb"][2] - 0.02
    assert trained["rgb"][2] > 0.4  # of something that was learnt
