"""The tables of `normalization.py`, from its records."""

from __future__ import annotations

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
                by = {(r["norm"], r["seed"]): r for r in records if r["dataset"] == dataset}
                each = [
                    by[norm, s][column] - by["group", s][column]
                    for s in SEEDS
                    if (norm, s) in by and ("group", s) in by and column in by[norm, s]
                ]
                if each:
                    listed = ", ".join(f"{e:+.3f}" for e in each)
                    mean = statistics.mean(each)
                    lines.append(f"- {dataset}, `{norm}`: {COLUMNS[column]} {mean:+.3f} ({listed})")
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


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"
