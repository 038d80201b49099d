"""Shares of sections and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.attribution.sections import (
    asymmetry,
    map_swap,
    order_sensitivity,
    paired_difference,
    section_shares,
    two_way,
)
from emjax.errors import InputError

RNG = np.random.default_rng(0)


def test_shares_by_hand():
    maps = np.zeros((1, 3, 2, 2))
    maps[0, 0, 0] = [1, -1]
    maps[0, 1, 0] = [3, 3]
    maps[0, 2] = 100
    maps[0, 2, 0] = [0, -2]
    region = np.array([[[True, True], [False, False]]])
    np.testing.assert_allclose(section_shares(maps, region), [[0.2, 0.6, 0.2]])
    with pytest.raises(InputError, match="image 0 has no attribution"):
        section_shares(np.zeros((1, 3, 2, 2)))
    with pytest.raises(InputError, match="not a number"):
        section_shares(np.full((1, 3, 2, 2), np.nan))


def test_measures_by_hand():
    found = asymmetry(np.array([[0.3, 0.5, 0.2]]))
    assert np.isclose(found.neighbour_ratio.value, 1.5)
    assert np.isclose(found.neighbour_asymmetry.value, 0.2)
    assert np.isclose(found.spread.value, 2.5)
    assert np.isclose(found.variation.value, np.std([0.3, 0.5, 0.2]) * 3)
    # One image drawn again and again is itself.
    assert found.shares[1] == (0.5, 0.5, 0.5)
    five = asymmetry(np.array([[0.1, 0.2, 0.2, 0.4, 0.1]]))
    assert np.isclose(five.neighbour_ratio.value, 2)
    for sections in (1, 2, 4):
        with pytest.raises(InputError, match="odd number"):
            asymmetry(np.ones((2, sections)))


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for trial in range(60):
        logs = np.random.default_rng(trial).normal(np.log([0.3, 0.4, 0.3]), 0.1, (40, 3))
        shares = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
        low, high = asymmetry(shares, num_samples=300).neighbour_asymmetry[1:]
        held += low <= 0 <= high
    assert 50 <= held <= 60
    assert paired_difference(np.arange(9) + 2.0, np.arange(9)) == (2, 2, 2)


def test_order_sensitivity():
    x = RNG.random((4, 3, 5, 6))
    blind = order_sensitivity(lambda x: x.sum(1), x)
    assert blind.any_order < 1e-12 and blind.swap < 1e-12
    # The middle alone: exchanging its neighbours changes nothing, other orders do.
    middle = order_sensitivity(lambda x: x[:, 1], x)
    assert middle.swap == 0 and middle.any_order > 0.1
    before = order_sensitivity(lambda x: x[:, 0], x)
    change = np.sqrt(((x[:, 2] - x[:, 0]) ** 2).sum((1, 2)) / (x[:, 0] ** 2).sum((1, 2)))
    assert np.isclose(before.swap, change.mean())
    assert order_sensitivity(lambda x: x.sum(1), RNG.random((1, 7, 2, 2))).any_order < 1e-12


def test_map_swap():
    maps = RNG.random((2, 3, 4, 4))
    follows = maps[:, [2, 1, 0]]
    np.testing.assert_allclose(map_swap(maps, follows), 0, atol=1e-12)
    assert (map_swap(maps, maps) > 0.2).all()
    opposite = follows.copy()
    opposite[:, 2] = -maps[:, 0]
    np.testing.assert_allclose(map_swap(maps, opposite), 2)
    assert np.isnan(map_swap(np.ones((1, 3, 2, 2)), maps[:1, :, :2, :2])).all()


def test_place_and_colour_are_told_apart():
    place, colour = np.array([-0.1, 0.3, -0.2]), np.array([0.1, 0.25, -0.35])
    orders = np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0]])
    shares = np.exp(place + colour[orders])
    shares /= shares.sum(1, keepdims=True)
    found = two_way(shares, orders)
    np.testing.assert_allclose(found.sections, place, atol=1e-12)
    np.testing.assert_allclose(found.colours, colour, atol=1e-12)
    assert found.residual < 1e-12
    with pytest.raises(InputError, match="another colour in the middle"):
        two_way(shares[:1], orders[:1])
