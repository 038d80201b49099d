"""What more labels would bring: a curve through the scores of networks that had fewer, and how far to trust it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from emjax.errors import InputError

# Exponents that are tried: of 0.02, ten times as many labels remove a twentieth of what is lacking; of 3, everything.
_EXPONENTS = np.geomspace(0.02, 3, 120)
_INTERVAL = (2.5, 97.5)
# Numbers that a curve is fitted by.
_FREE = 3


@dataclasses.dataclass(frozen=True)
class LearningCurve:
    """The curve `limit + slope * amount ** -exponent`, and others that the scores would allow.

    Attributes:
        fit: `[3]` float: limit, slope, exponent.
        others: `[n, 3]` float, of resampled scores.
        largest: the largest amount of labels that a score is of.
    """

    fit: np.ndarray
    others: np.ndarray
    largest: float

    def at(self, amount: float) -> tuple[float, float, float]:
        """Returns the score expected for an amount of labels, and the ends of its interval of 95 %."""
        low, high = np.percentile(_curve(self.others, amount), _INTERVAL)
        return float(_curve(self.fit[None], amount)[0]), float(low), float(high)

    def needed(self, score: float) -> tuple[float, float, float]:
        """Returns the amount of labels at which a score is reached, and the ends of its interval of 95 %.

        Infinite where the curve never gets there.
        """
        amounts = _needed(np.concatenate([self.fit[None], self.others]), score)
        # Of sorted values rather than between two of them, of which one may be infinite.
        low, high = np.percentile(amounts[1:], _INTERVAL, method="nearest")
        return float(amounts[0]), float(low), float(high)


def fit_curve(
    amounts: Sequence[float],
    scores: Sequence[float],
    *,
    ceiling: float | None = 1.0,
    resamples: int = 1000,
    seed: int = 0,
) -> LearningCurve:
    """Fits an inverse power law to the scores of trainings with different amounts of labels.

    The interval is of a bootstrap of residuals, made larger by the numbers that the fit has used up. It says how far
    the noise of these trainings reaches; that the law itself holds beyond them is assumed.

    Args:
        amounts: of labels of each training, in any unit, above 0.
        scores: of each training.
        ceiling: highest score that there can be; None: none, as for losses.
        resamples: number of curves for the interval.
        seed: of the resampling.

    Raises:
        InputError: if there are fewer than 4 trainings, or fewer than 3 different amounts.

    Source: "Predicting sample size required for classification performance" (doi:10.1186/1472-6947-12-8).
    """
    x, y = np.asarray(amounts, float), np.asarray(scores, float)
    different = len(np.unique(x))
    if len(x) <= _FREE or different < _FREE:
        raise InputError(
            f"a learning curve needs 4 trainings or more with 3 different amounts of labels or more; here are {len(x)} "
            f"with {different}"
        )
    if (x <= 0).any() or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("amounts of labels must be above 0, and scores finite")
    fit = _fit(x, y, ceiling)
    expected = _curve(fit[None], x)
    residuals = (y - expected) * np.sqrt(len(x) / (len(x) - _FREE))
    rng = np.random.default_rng(seed)
    others = [_fit(x, expected + rng.choice(residuals, len(x)), ceiling) for _ in range(resamples)]
    return LearningCurve(fit, np.asarray(others), float(x.max()))


def _fit(x: np.ndarray, y: np.ndarray, ceiling: float | None) -> np.ndarray:
    """Returns the (limit, slope, exponent) of least squares."""
    rough = _best(x, y, ceiling, _EXPONENTS)
    step = _EXPONENTS[1] / _EXPONENTS[0]
    return _best(x, y, ceiling, rough[2] * np.geomspace(1 / step, step, 41))


def _best(x: np.ndarray, y: np.ndarray, ceiling: float | None, exponents: np.ndarray) -> np.ndarray:
    """Returns the best curve with one of some exponents, of each of which the rest is linear."""
    powers = x[None] ** -exponents[:, None]
    mean = powers.mean(axis=1)
    spread = powers - mean[:, None]
    slope = spread @ (y - y.mean()) / (spread**2).sum(axis=1)
    limit = y.mean() - slope * mean
    if ceiling is not None:
        above = limit > ceiling
        pinned = powers @ (y - ceiling) / (powers**2).sum(axis=1)
        slope, limit = np.where(above, pinned, slope), np.where(above, ceiling, limit)
    errors = ((limit[:, None] + slope[:, None] * powers - y) ** 2).sum(axis=1)
    best = int(np.argmin(errors))
    return np.array([limit[best], slope[best], exponents[best]])


def _curve(fits: np.ndarray, amount: float | np.ndarray) -> np.ndarray:
    limit, slope, exponent = fits.T
    return limit + slope * np.asarray(amount, float) ** -exponent


def _needed(fits: np.ndarray, score: float) -> np.ndarray:
    limit, slope, exponent = fits.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = (score - limit) / slope
        amounts = np.where(ratio > 0, ratio ** (-1 / exponent), np.inf)
    return np.where(np.isfinite(amounts), amounts, np.inf)
