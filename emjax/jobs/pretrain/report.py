"""The pictures of a pretraining run, and the lines that it ends with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from emjax.evaluation.figures import curves, image_grid, save_png

PLOTS = "plots"
_TITLES = ("view", "other view", "its target", "reconstructed", "where it is found")


def draw_crops(crops: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Draws held-out crops: both views, target, reconstruction, and where a point of the first view is found.

    Args:
        crops: as `PretrainEvaluation.show` returns them.

    Returns:
        `[height, width, 3]` uint8.
    """
    rows, marks = [], {}
    for r, crop in enumerate(crops):
        scale = crop["first"].shape[0] // crop["similarity"].shape[0]
        found = np.kron(crop["similarity"], np.ones((scale, scale)))
        rows.append([crop["first"], crop["second"], crop["target"], crop["restored"], found])
        marks[r, 0] = [(*crop["query"][1:], "tab:red")]
        for c in (1, 4):
            marks[r, c] = [(*crop["twin"][1:], "tab:cyan")]
    return image_grid(rows, _TITLES, marks)


def draw_curves(folder: epath.Path, references: Mapping[str, float]) -> np.ndarray:
    """Draws the course of a run from its `metrics.jsonl`.

    Args:
        folder: run folder.
        references: scores of the untrained network, raw pixels and chance.

    Returns:
        `[height, width, 3]` uint8.
    """
    lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if "train" in line]
    evaluated = [line for line in lines if "eval" in line]

    def course(name: str, group: str, source: list) -> tuple[list, list]:
        points = [(line["step"], line[group][name]) for line in source if name in line[group]]
        return [p[0] for p in points], [p[1] for p in points]

    terms = sorted(n for n in train[-1]["train"] if n.startswith("loss/")) if train else []
    shares = (
        sorted(n for n in train[-1]["train"] if n.startswith("gradient_share/")) if train else []
    )
    untrained = references["retrieval_top1_untrained"]
    first = ([0], [untrained])
    top1 = course("retrieval_top1", "eval", evaluated)
    rank = course("effective_rank", "eval", evaluated)
    return curves(
        {
            "losses": {n.removeprefix("loss/"): course(n, "train", train) for n in terms},
            "share of the gradient": {
                n.removeprefix("gradient_share/"): course(n, "train", train) for n in shares
            },
            "retrieval, top-1": {"trained": (first[0] + top1[0], first[1] + top1[1])},
            "effective rank": {"trained": rank},
        },
        {
            "retrieval, top-1": {
                "raw pixels": references["retrieval_top1_raw"],
                "untrained": untrained,
                "chance": references["retrieval_top1_chance"],
            },
            "effective rank": {"untrained": references["effective_rank_untrained"]},
        },
    )


def write_plots(
    folder: epath.Path, crops: Sequence[Mapping[str, Any]], references: Mapping[str, float]
) -> list[epath.Path]:
    """Writes the pictures to `plots/`; returns their paths."""
    (folder / PLOTS).mkdir(exist_ok=True)
    paths = []
    for name, picture in (
        ("crops.png", draw_crops(crops) if crops else None),
        ("curves.png", draw_curves(folder, references)),
    ):
        if picture is not None:
            paths.append(folder / PLOTS / name)
            save_png(paths[-1], picture)
    return paths


def closing_lines(
    folder: epath.Path, results: Mapping[str, float], plots: Sequence[epath.Path]
) -> str:
    """Returns what a user wants to know at the end: the scores beside what they compare with, and where all is."""

    def row(title: str, name: str, form: str, *others: str) -> str:
        values = [f"{title:<28}{format(results[name], form):>9}"]
        for suffix in others:
            key = name + suffix
            if key in results:
                values.append(
                    f"{suffix.strip('_').replace('raw', 'raw pixels')} {results[key]:{form}}"
                )
        return "   ".join(values)

    lines = [
        f"{'loss, first and last 5 %':<28}{results['loss_first']:>9.3f}   {results['loss_last']:.3f}",
        row("retrieval top-1", "retrieval_top1", ".3f", "_untrained", "_raw", "_chance"),
        row("matching error, voxels", "matching_error_voxels", ".1f", "_untrained", "_raw"),
        row("reconstruction PSNR, dB", "psnr_db", ".1f", "_untrained", "_raw"),
        row("effective rank", "effective_rank", ".1f", "_untrained"),
    ]
    if "probe_average_precision" in results:
        lines.append(
            row(
                "membrane probe, AP",
                "probe_average_precision",
                ".3f",
                "_untrained",
                "_raw",
                "_chance",
            )
        )
    lines += [
        f"checkpoints  {folder / 'checkpoints'}",
        f"results      {folder / 'results.json'}",
        f"pictures     {', '.join(map(str, plots))}",
        f"curves       tensorboard --logdir {folder / 'tensorboard'}",
    ]
    return "\n".join(lines)
