"""Learning curves: laws that are known are found again, and noise widens the interval."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.annotation.learning_curve import fit_curve
from emjax.errors import InputError

AMOUNTS = np.array([1, 1, 2, 2, 4, 4, 8, 8])


def test_a_law_without_noise_is_found_again():
    curve = fit_curve(AMOUNTS, 0.9 - 0.4 * AMOUNTS**-0.5, resamples=20)
    for amount in (16, 64):
        score, low, high = curve.at(amount)
        assert score == pytest.approx(0.9 - 0.4 * amount**-0.5, abs=2e-3)
        assert low <= score + 1e-6 and high >= score - 1e-6
    # 0.9 - 0.4 / sqrt(n) = 0.85 at n = 64.
    assert curve.needed(0.85)[0] == pytest.approx(64, rel=0.05)
    assert curve.needed(0.95) == (np.inf, np.inf, np.inf)


def test_no_score_is_above_the_ceiling():
    curve = fit_curve(AMOUNTS, 0.1 + 0.2 * np.log2(AMOUNTS), resamples=20)
    assert curve.at(1e9)[0] <= 1 and curve.others[:, 0].max() <= 1
    losses = fit_curve(AMOUNTS, 1.5 + AMOUNTS**-1.0, ceiling=None, resamples=20)
    assert losses.at(1e6)[0] == pytest.approx(1.5, abs=0.01)


def test_noise_widens_the_interval():
    noise = np.random.default_rng(0).normal(size=8)
    widths = []
    for size in (0.002, 0.02):
        _, low, high = fit_curve(
            AMOUNTS, 0.9 - 0.4 * AMOUNTS**-0.5 + size * noise, resamples=100
        ).at(16)
        widths.append(high - low)
    assert widths[1] > 3 * widths[0] > 0


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ([1, 2, 4], "here are 3 with 3"),
        ([1, 1, 2, 2], "here are 4 with 2"),
        ([0, 1, 2, 4], "above 0"),
    ],
)
def test_too_few_trainings_are_refused(amounts, words):
    with pytest.raises(InputError, match=words):
        fit_curve(amounts, np.linspace(0.5, 0.8, len(amounts)))
