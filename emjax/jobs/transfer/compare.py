"""Compares arms: scores of each seed, and paired differences with intervals of a bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from emjax.targets.metrics import Metric

# Percentiles of an interval.
_INTERVAL = (2.5, 97.5)


class Difference(NamedTuple):
    """By how much an arm is above another one.

    Attributes:
        each: of each seed.
        mean: over seeds.
        low: lower end of the interval of 95 %.
        high: its upper end.
    """

    each: tuple[float, ...]
    mean: float
    low: float
    high: float


def scores(metric: Metric, sums: Sequence[np.ndarray]) -> list[float]:
    """Returns the score of each seed; NaN where nothing decides it.

    Args:
        metric: what the sums are of.
        sums: of each seed `[n, ...]`, for each crop.
    """
    return [_score(metric, each.sum(0)) for each in sums]


def paired_difference(
    metric: Metric,
    arm: Sequence[np.ndarray],
    base: Sequence[np.ndarray],
    resamples: int,
    seed: int = 0,
) -> Difference:
    """Returns the difference of two arms that were trained with the same seeds and judged on the same crops.

    The interval is of a bootstrap (percentiles) that draws seeds and held-out crops with replacement, the same ones for
    both arms: it says what other seeds and other crops of the same volume would have given. Our choice.

    Args:
        metric: what the sums are of.
        arm: of each seed `[n, ...]`, sums of each crop.
        base: the same of the arm that is compared with.
        resamples: number of draws.
        seed: of the draws.
    """
    each = np.subtract(scores(metric, arm), scores(metric, base))
    rng = np.random.default_rng(seed)
    count, drawn = len(arm[0]), []
    for _ in range(resamples):
        crops = rng.integers(0, count, count)
        seeds = rng.integers(0, len(arm), len(arm))
        drawn.append(
            np.mean(
                [
                    _score(metric, arm[s][crops].sum(0)) - _score(metric, base[s][crops].sum(0))
                    for s in seeds
                ]
            )
        )
    known = np.asarray(drawn)[np.isfinite(drawn)]
    low, high = np.percentile(known, _INTERVAL) if len(known) else (np.nan, np.nan)
    return Difference(tuple(each.tolist()), float(each.mean()), float(low), float(high))


def table(
    metrics: Mapping[str, Metric],
    sums: Mapping[str, Sequence[Mapping[str, np.ndarray]]],
    resamples: int,
) -> tuple[list[str], dict[str, float]]:
    """Makes the table of a comparison, in Markdown, and its numbers.

    Args:
        metrics: `val_<metric>` -> the metric.
        sums: title of an arm -> for each seed, what `emjax.jobs.transfer.judge.Crops.sums` has; the first arm is what
            the others are compared with, by the seeds that both have.
        resamples: of the bootstrap.

    Returns:
        Lines; and `<arm>_<metric>`, `<arm>_<metric>_difference`, `..._low` and `..._high`.
    """
    lines, numbers = [], dict[str, float]()
    base = next(iter(sums))
    for name, metric in metrics.items():
        title = name.removeprefix("val_").replace("_", " ")
        lines += [
            "",
            f"| arm | {title}, mean | of each seed | above '{base}' | of each seed | interval of 95 % |",
            "|---|---|---|---|---|---|",
        ]
        for arm, runs in sums.items():
            found = scores(metric, [run[name] for run in runs])
            row = [arm, f"{np.mean(found):.3f}", ", ".join(f"{value:.3f}" for value in found)]
            numbers[f"{arm}_{name}"] = float(np.mean(found))
            pairs = min(len(runs), len(sums[base]))
            if arm == base or not pairs:
                row += ["", "", ""]
            else:
                ours, theirs = ([run[name] for run in sums[a][:pairs]] for a in (arm, base))
                difference = paired_difference(metric, ours, theirs, resamples)
                listed = ", ".join(f"{value:+.3f}" for value in difference.each)
                interval = f"{difference.low:+.3f} to {difference.high:+.3f}"
                row += [f"{difference.mean:+.3f}", listed, interval]
                ends = {
                    "difference": difference.mean,
                    "low": difference.low,
                    "high": difference.high,
                }
                numbers |= {f"{arm}_{name}_{end}": value for end, value in ends.items()}
            lines.append(f"| {' | '.join(row)} |")
    return lines, numbers


def _score(metric: Metric, sums: np.ndarray) -> float:
    value = metric.score(sums)
    return float("nan") if value is None else value
