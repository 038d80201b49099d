from __future__ import annotations

import numpy as np
import pytest

from emjax.evaluation.spectrum import effective_rank, level_variances


def test_rank_by_hand():
    # Singular values 3 : 1 after centring.
    tokens = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert effective_rank(tokens + 7) == pytest.approx(expected)


def test_rank_of_equal_spread_of_a_line_and_of_a_point():
    assert effective_rank(np.concatenate([np.eye(6), -np.eye(6)])) == pytest.approx(6)
    line = np.linspace(0, 1, 50)[:, None] * np.arange(1.0, 9)
    assert effective_rank(line) == pytest.approx(1)
    assert effective_rank(np.full((50, 8), 0.1, np.float32)) == 0


def test_rank_does_not_change_under_scaling_and_rotation():
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(200, 8)) * np.arange(1, 9)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    assert effective_rank(100 * tokens @ turn - 3) == pytest.approx(effective_rank(tokens))


def test_rank_of_broken_features_is_nan():
    assert np.isnan(effective_rank(np.array([[np.nan, 1], [0, 1]])))


def test_variances():
    levels = {"0": np.array([[[0.0, 5], [2, 5]]]), "1": np.ones((3, 4, 2))}
    assert level_variances(levels) == {"0": 0.5, "1": 0.0}
