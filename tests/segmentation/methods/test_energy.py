"""Levels of a distance: decoded by hand, and objects back from their levels."""

from __future__ import annotations

import numpy as np

from emjax.segmentation.methods import METHODS, choose_method, decode
from emjax.segmentation.methods.energy import decode_energy
from emjax.segmentation.prediction import Prediction

NAMES = ("energy_0", "energy_1", "energy_2", "energy_3", "energy_4")


def test_the_expected_distance_by_hand() -> None:
    scores = [[1, 0, 0.1], [0, 0, 0.2], [0, 0, 0.2], [0, 0.5, 0.2], [0, 0.5, 0.3]]
    array = np.array(scores, np.float32).reshape(5, 1, 1, 3)
    foreground, distance = decode_energy(Prediction(array, NAMES, (None,) * 5))
    np.testing.assert_allclose(foreground.ravel(), [0, 1, 0.9], rtol=1e-6)
    middles = np.array([1, 3, 5, 7]) / 8
    wanted = [0, middles[2:].mean(), (middles * [0.2, 0.2, 0.2, 0.3]).sum()]
    np.testing.assert_allclose(distance.ravel(), wanted, rtol=1e-6)


def test_touching_objects_come_back() -> None:
    y, x = np.indices((1, 16, 24))[1:]
    labels = np.where((y > 1) & (y < 14) & (x > 1) & (x < 22), x // 12 + 1, 0)
    deep = np.minimum(np.minimum(x % 12, 11 - x % 12), np.minimum(y - 2, 13 - y)) / 6
    level = np.where(labels > 0, np.clip((deep * 4).astype(int) + 1, 1, 4), 0)
    array = (level == np.arange(5)[:, None, None, None]).astype(np.float32)
    prediction = Prediction(array, NAMES, (None,) * 5)
    assert choose_method("", NAMES, (None,) * 5) == "energy"
    np.testing.assert_array_equal(decode(prediction, "energy", {"min_size": 0}), labels)


def test_levels_that_are_missing_do_not_fit() -> None:
    fits = METHODS.find("energy").fits
    assert fits(NAMES, (None,) * 5) and not fits((*NAMES[:2], NAMES[3]), (None,) * 3)
    assert not fits(NAMES[:2], (None,) * 2)
