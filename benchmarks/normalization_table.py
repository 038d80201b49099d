"""The tables of `normalization.py`, from its records, and the rule by which a way to normalize becomes the default.

The rule was fixed before any run was scored. A way that keeps to the footprint *holds* if on no data set, neither in
average precision nor in VOI or IoU, its mean difference from `group` (paired by seed) is worse by more than two
standard errors of that difference, or by more than `MARGINS`, whichever is larger. Of those that hold, the one with the
highest mean average precision becomes the default; within 0.005 of it, the first of `PREFERENCE`. If none holds,
`group` stays.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from emjax.models.normalization import NORMS

SEEDS = (0, 1, 2)
COLUMNS = {
    "precision": "average precision",
    "voi": "VOI",
    "arand": "Rand error",
    "iou": "IoU",
    "tiles_mean": "other tiles, mean change",
    "tiles_crossed": "cross 0.5",
    "black_mean": "black half, mean change",
    "black_crossed": "cross 0.5",
}

# What is better when it is lower: -1.
SIGNS = {"precision": 1, "voi": -1, "iou": 1}
# Differences that nobody would notice: average precision, bits, IoU.
MARGINS = {"precision": 0.01, "voi": 0.05, "iou": 0.01}
# Fixed statistics are the faster ones in prediction; 'calibrated' trains as `group` does.
PREFERENCE = ("calibrated", "running", "layer")


def tables(records: Sequence[Mapping[str, Any]], speed: Mapping[str, Any]) -> list[str]:
    """Returns Markdown tables of scores, paired differences and speed.

    Args:
        records: of runs, as `normalization.py` writes them.
        speed: of inference, by `model.norm`; {}: not measured.
    """
    lines = [
        "| data | `model.norm` | seeds | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    for dataset in sorted({record["dataset"] for record in records}):
        for norm in NORMS:
            runs = [r for r in records if (r["dataset"], r["norm"]) == (dataset, norm)]
            if runs:
                cells = [_spread([r[c] for r in runs if c in r]) for c in COLUMNS]
                lines.append(f"| {dataset} | `{norm}` | {len(runs)} | " + " | ".join(cells) + " |")
    lines += ["", "Paired differences from `group`, each seed:"]
    for dataset in sorted({record["dataset"] for record in records}):
        for norm in NORMS[1:]:
            for column in ("precision", "voi", "arand", "iou"):
                each = differences(records, dataset, norm, column)
                if each:
                    listed = ", ".join(f"{e:+.3f}" for e in each)
                    mean = statistics.mean(each)
                    lines.append(f"- {dataset}, `{norm}`: {COLUMNS[column]} {mean:+.3f} ({listed})")
    lines += ["", f"By the rule, the default is `{choose(records)}`."]
    if speed:
        lines += [
            "",
            "| `model.norm` | processor s a tile | voxels/s of a core | against `group` |",
        ]
        lines.append("|---|---|---|---|")
        for norm, found in speed.items():
            rate, ratio = found["voxels"] / found["cpu_s"], speed["group"]["cpu_s"] / found["cpu_s"]
            lines.append(f"| `{norm}` | {found['cpu_s']:.3f} | {rate:,.0f} | {ratio:.2f} |")
    return lines


def differences(
    records: Sequence[Mapping[str, Any]], dataset: str, norm: str, column: str
) -> list[float]:
    """Returns a score of each seed minus that of `group` with the same seed; [] where there is no such score."""
    by = {(r["norm"], r["seed"]): r for r in records if r["dataset"] == dataset}
    return [
        by[norm, seed][column] - by["group", seed][column]
        for seed in SEEDS
        if (norm, seed) in by and ("group", seed) in by and column in by[norm, seed]
    ]


def choose(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns the value of `model.norm` that the rule of this module makes the default, by the seeds so far."""
    datasets = sorted({record["dataset"] for record in records})
    gained = {}
    for norm in PREFERENCE:
        holds, precision = True, []
        for dataset in datasets:
            for column, sign in SIGNS.items():
                each = [sign * d for d in differences(records, dataset, norm, column)]
                if len(each) < 2:
                    # A score that this data set has not, or a single seed, of which nothing follows.
                    holds = holds and (column != "precision")
                    continue
                error = 2 * statistics.stdev(each) / math.sqrt(len(each))
                holds = holds and statistics.mean(each) >= -max(error, MARGINS[column])
                precision += each if column == "precision" else []
        if holds:
            gained[norm] = statistics.mean(precision)
    best = max(gained.values(), default=0.0)
    return next((norm for norm, gain in gained.items() if gain >= best - 0.005), "group")


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"
