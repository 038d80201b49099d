"""Prints the tables of what benchmarks/channels.py wrote: python benchmarks/channels_table.py runs/channels."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emjax.attribution.sections import asymmetry, two_way

_COLOURS = {"rgb": (0, 1, 2), "brg": (2, 0, 1), "gbr": (1, 2, 0)}
_DRAWINGS = 2000


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workdir", type=Path)
    records = [
        json.loads(p.read_text()) for p in sorted(parser.parse_args().workdir.glob("*.json"))
    ]
    lines = [
        f"{len(records)} runs",
        "",
        *shares_table(records),
        "",
        *scores_table(records),
        "",
        *colours_table(records),
    ]
    print("\n".join(lines))


def shares_table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Shares and neighbour ratio by the gradient, before and after; the ratio after by the other methods."""
    lines = [
        "| network | data | fill | rate | seeds | shares before | ratio before | shares after | ratio after | input x "
        "gradient | occlusion |",
        "|---" * 11 + "|",
    ]
    for key, group in _grouped(records, ("network", "data", "fill", "rate")):
        found = {
            (when, name): asymmetry(
                np.concatenate([np.array(r[when]["shares"][name]) for r in group])
            )
            for when in ("before", "after")
            for name in ("gradient", "input x gradient", "section occlusion")
        }
        cells: list[str] = []
        for when in ("before", "after"):
            one = found[when, "gradient"]
            cells += [" ".join(f"{s.value:.3f}" for s in one.shares), _ratio(one)]
        cells += [
            _ratio(found["after", name]) for name in ("input x gradient", "section occlusion")
        ]
        seeds = ",".join(str(r["seed"]) for r in group)
        lines.append(f"| {' | '.join(key)} | {seeds} | {' | '.join(cells)} |")
    return lines


def scores_table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """IoU and Dice, and what each fill gains on `rgb` with the same seeds, with intervals over tiles."""
    lines = [
        "| network | data | fill | rate | IoU each seed | Dice each seed | Dice - rgb | IoU - rgb |",
        "|---" * 8 + "|",
    ]
    for key, group in _grouped(records, ("network", "data", "fill", "rate")):
        base = {
            r["seed"]: r
            for r in records
            if (r["network"], r["data"], r["rate"]) == (key[0], key[1], key[3])
            and r["fill"] == "rgb"
        }
        pairs = [(r, base[r["seed"]]) for r in group if r["seed"] in base]
        each = [[f"{_score(r['counts'], kind):.3f}" for r in group] for kind in ("iou", "dice")]
        gains = [
            _gain(pairs, kind) if pairs and key[2] != "rgb" else "" for kind in ("dice", "iou")
        ]
        lines.append(f"| {' | '.join(key)} | {' '.join(each[0])} | {' '.join(each[1])} | ")
        lines[-1] += f"{gains[0]} | {gains[1]} |"
    return lines


def colours_table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the place and the colour of a section do to the logarithm of its share (gradient)."""
    lines = [
        "| network | data | rate | when | section before, middle, after | red, green, blue | residual |"
    ]
    lines.append("|---" * 7 + "|")
    ordered = [r for r in records if r["fill"] in _COLOURS]
    for key, group in _grouped(ordered, ("network", "data", "rate")):
        if {r["fill"] for r in group} != set(_COLOURS):
            continue
        for when in ("before", "after"):
            shares = np.array([np.mean(r[when]["shares"]["gradient"], axis=0) for r in group])
            found = two_way(shares, np.array([_COLOURS[r["fill"]] for r in group]))
            texts = [
                " ".join(f"{value:+.3f}" for value in part)
                for part in (found.sections, found.colours)
            ]
            lines.append(
                f"| {' | '.join(key)} | {when} | {texts[0]} | {texts[1]} | {found.residual:.3f} |"
            )
    return lines


def _grouped(
    records: Sequence[Mapping[str, Any]], fields: Sequence[str]
) -> list[tuple[tuple[str, ...], list[Mapping[str, Any]]]]:
    def key(record: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(record[field] for field in fields)

    return [
        (k, sorted(g, key=lambda r: r["seed"]))
        for k, g in itertools.groupby(sorted(records, key=key), key)
    ]


def _ratio(found: Any) -> str:
    ratio = found.neighbour_ratio
    return f"{ratio.value:.2f} ({ratio.low:.2f}, {ratio.high:.2f})"


def _score(counts: Sequence[Sequence[int]], kind: str) -> float:
    right, wrong, missed = np.sum(counts, axis=0)
    if kind == "iou":
        return float(right / max(right + wrong + missed, 1))
    return float(2 * right / max(2 * right + wrong + missed, 1))


def _gain(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], kind: str) -> str:
    """Returns the mean over seeds of the difference, with an interval by drawing tiles again."""

    def difference(chosen: np.ndarray) -> float:
        return float(
            np.mean(
                [
                    _score(np.array(one["counts"])[chosen], kind)
                    - _score(np.array(other["counts"])[chosen], kind)
                    for one, other in pairs
                ]
            )
        )

    tiles = len(pairs[0][0]["counts"])
    rng = np.random.default_rng(0)
    drawn = [difference(rng.integers(0, tiles, tiles)) for _ in range(_DRAWINGS)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{difference(np.arange(tiles)):+.3f} ({low:+.3f}, {high:+.3f})"


if __name__ == "__main__":
    main()
