"""Entropy of predictions against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.annotation.uncertainty import entropy
from emjax.errors import InputError


def test_a_coin_is_one_bit_and_certainty_is_none():
    values = np.array([0.5, 0.0, 1.0, 0.25]).reshape(1, 1, 1, 4)
    # H(1/4) = 2/4 + 3/4 log2(4/3)
    expected = [1.0, 0.0, 0.0, 0.5 + 0.75 * np.log2(4 / 3)]
    np.testing.assert_allclose(entropy(values, ["foreground"])[0, 0], expected, atol=1e-6)


def test_bytes_mean_the_same_as_floats():
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    found = entropy(values, ["mito.foreground"])
    np.testing.assert_allclose(found, entropy(values / 255.0, ["foreground"]), atol=1e-6)
    assert found.dtype == np.float32


def test_targets_count_alike_however_many_channels_they_have():
    values = np.zeros((4, 1, 1, 1))
    values[3] = 0.5
    names = ["affinity", "affinity", "affinity", "foreground"]
    assert entropy(values, names).item() == 0.5


def test_distances_are_left_out():
    values = np.full((2, 1, 1, 1), 0.5)
    values[0] = 0
    assert entropy(values, ["foreground", "signed_distance"]).item() == 0
    with pytest.raises(InputError, match="none of the prediction's channels"):
        entropy(values, ["distance", "signed_distance"])


def test_classes_of_equal_chance_are_one():
    names = ["class_0", "class_1", "class_2", "class_5"]
    assert entropy(np.full((4, 1, 1, 1), 0.25), names).item() == pytest.approx(1)
    sure = np.array([0, 1, 0, 0], np.float32).reshape(4, 1, 1, 1)
    assert entropy(sure, names).item() == 0
    assert entropy((255 * sure).astype(np.uint8), names).item() == 0
