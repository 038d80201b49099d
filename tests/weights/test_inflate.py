"""Depth for kernels: what each fill means, on stacks of sections, for a first layer as the networks compute it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.weights.inflate import FILLS, inflate

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 3, 8)) * [[[[1.0], [1.2], [0.5]]]]
UNIFORM = tuple(fill for fill in FILLS if fill.startswith("uniform"))


def planes(kernel: np.ndarray, stack: np.ndarray) -> np.ndarray:
    """A 2D convolution without padding of each `[i, y, x]`: `[y, x, i, o]` -> `[y, x, o]`, i added up."""
    windows = np.lib.stride_tricks.sliding_window_view(stack, kernel.shape[:2], axis=(1, 2))
    return np.einsum("iyxvw,vwio->yxo", windows, kernel)


def response(inflated: np.ndarray, sections: np.ndarray) -> np.ndarray:
    """What the section in the middle of `[z, y, x]` becomes."""
    return planes(inflated[:, :, :, 0].transpose(1, 2, 0, 3), sections)


def stack(depth: int) -> np.ndarray:
    return np.random.default_rng(1).random((depth, 9, 10))


def off(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def test_by_hand():
    kernel = np.array([1.0, 10.0, 100.0]).reshape(1, 1, 3, 1)
    expected = {
        "center": [0, 111, 0],
        "average": [37, 37, 37],
        "rgb": [1, 10, 100],
        "brg": [100, 1, 10],
        "gbr": [10, 100, 1],
        "uniform_r": [1, 1, 1],
        "uniform_g": [10, 10, 10],
        "uniform_b": [100, 100, 100],
        "uniform_mean": [37, 37, 37],
        "uniform_pca": [np.sqrt(10101 / 3)] * 3,
    }
    for fill, values in expected.items():
        np.testing.assert_allclose(inflate(kernel, 3, fill).ravel(), values, err_msg=fill)
    np.testing.assert_allclose(inflate(kernel, 5, "rgb").ravel(), [0.6, 6, 60, 0.6, 6])
    np.testing.assert_allclose(inflate(kernel, 1, "rgb").ravel(), [111])
    np.testing.assert_allclose(inflate(kernel, 2, "uniform_g").ravel(), [15, 15])


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_center_is_the_2d_network_on_the_middle_and_average_on_the_mean(depth):
    sections = stack(depth)
    grey = np.broadcast_to(sections[depth // 2], (3, 9, 10))
    np.testing.assert_allclose(
        response(inflate(KERNEL, depth, "center"), sections), planes(KERNEL, grey)
    )
    mean = np.broadcast_to(sections.mean(0), (3, 9, 10))
    np.testing.assert_allclose(
        response(inflate(KERNEL, depth, "average"), sections), planes(KERNEL, mean)
    )


@pytest.mark.parametrize("fill", UNIFORM)
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_uniform_is_blind_to_the_order_of_sections(fill, depth):
    inflated = inflate(KERNEL.astype(np.float32), depth, fill)
    sections = stack(depth)
    first = response(inflated, sections)
    for order in itertools.permutations(range(depth)):
        assert off(response(inflated, sections[list(order)]), first) < 1e-5


def test_rgb_and_a_normalization_by_channel_are_not_blind():
    sections = stack(3)
    order = [1, 0, 2]
    rgb = inflate(KERNEL, 3, "rgb")
    assert off(response(rgb, sections[order]), response(rgb, sections)) > 1e-2
    green = inflate(KERNEL, 3, "uniform_g")
    means = np.array([0.485, 0.456, 0.406])[:, None, None]
    deviations = np.array([0.229, 0.224, 0.225])[:, None, None]
    one, other = ((s - means) / deviations for s in (sections, sections[order]))
    assert off(response(green, other), response(green, one)) > 1e-3


def test_the_mean_answers_to_grey_as_the_colours_do():
    same = np.broadcast_to(stack(1), (3, 9, 10))
    mean, rgb = (response(inflate(KERNEL, 3, fill), same) for fill in ("uniform_mean", "rgb"))
    assert off(mean, rgb) < 1e-5


@pytest.mark.parametrize("fill", [*UNIFORM, "center", "average"])
def test_the_sum_over_sections_is_the_same_for_any_number(fill):
    depths = (1, 3, 5) if fill == "center" else (1, 2, 5)
    sums = [inflate(KERNEL, depth, fill).sum(0) for depth in depths]
    np.testing.assert_allclose(sums[1], sums[0])
    np.testing.assert_allclose(sums[2], sums[0])
    if fill in ("center", "average", "uniform_mean"):
        np.testing.assert_allclose(sums[0], KERNEL.sum(2, keepdims=True))


def test_pca_keeps_the_energy_of_a_filter_of_one_pattern():
    # Colours that cancel: their mean is nothing, their energy is not.
    opponent = np.zeros((3, 3, 3, 1))
    opponent[..., 0, 0], opponent[..., 1, 0] = KERNEL[:, :, 0, 0], -KERNEL[:, :, 0, 0]
    found = inflate(opponent, 3, "uniform_pca")
    assert np.isclose(np.linalg.norm(found), np.linalg.norm(opponent))
    assert np.allclose(inflate(opponent, 3, "uniform_mean"), 0)


@pytest.mark.parametrize("fill", UNIFORM)
def test_scales_keep_the_answer_to_grey(fill):
    before = np.linalg.norm(KERNEL.sum(2), axis=(0, 1))
    each = np.linalg.norm(inflate(KERNEL, 3, fill, "per_filter").sum((0, 3)), axis=(0, 1))
    np.testing.assert_allclose(each, before)
    together = np.linalg.norm(inflate(KERNEL, 3, fill, "global").sum((0, 3)), axis=(0, 1))
    np.testing.assert_allclose(together.sum(), before.sum())
    plain = inflate(KERNEL, 3, fill)
    ratios = inflate(KERNEL, 3, fill, "global") / plain
    np.testing.assert_allclose(ratios, ratios.flat[0])


def test_scales_of_filters_that_cancel_are_bounded():
    kernel = np.zeros((1, 1, 3, 3))
    kernel[0, 0, :, 0] = [1, -1, 0]  # sums to nothing: 0.1 times
    kernel[0, 0, :, 1] = [1000, 1, 0]  # hardly green: 10 times
    found = inflate(kernel, 3, "uniform_g", "per_filter")[0, 0, 0, 0]
    np.testing.assert_allclose(found, [-0.1, 10, 0])


def test_random_is_of_the_size_that_a_new_network_has():
    found = inflate(np.zeros((7, 7, 3, 400)), 3, "random")
    assert found.shape == (3, 7, 7, 1, 400)
    assert np.isclose(found.std(), np.sqrt(2 / 147), rtol=0.02)
    assert np.array_equal(found, inflate(np.ones((7, 7, 3, 400)), 3, "random"))
    assert not np.array_equal(found, inflate(np.ones((7, 7, 3, 400)), 3, "random", seed=1))


def test_later_kernels_keep_their_channels():
    kernel = KERNEL.astype(np.float32)
    deep = inflate(kernel, 3, "center", colour=False)
    assert deep.shape == (3, 3, 3, 3, 8) and deep.dtype == np.float32
    assert np.array_equal(deep[1], kernel) and not deep[[0, 2]].any()
    np.testing.assert_allclose(
        inflate(kernel, 4, "average", colour=False).sum(0), kernel, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"fill": "centre"}, "'centre' of a kernel is unknown"),
        ({"fill": "uniform_g", "scale": "filter"}, "'filter' of a kernel is unknown"),
        ({"fill": "center", "depth": 4}, "odd number"),
        ({"fill": "rgb", "colour": False}, "three colours"),
        ({"fill": "uniform_g", "kernel": np.ones((3, 3, 1, 8))}, "has 1 channels"),
        ({"fill": "rgb", "scale": "global"}, "give 'none'"),
        ({"fill": "average", "depth": 0}, "0 sections deep"),
        ({"fill": "average", "kernel": np.ones((3, 3))}, "shape"),
    ],
)
def test_what_cannot_be(fields, match):
    with pytest.raises(InputError, match=match):
        inflate(**{"kernel": KERNEL, "depth": 3, **fields})
