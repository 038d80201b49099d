"""The pictures of a finetuning run, and the lines that it ends with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from emjax.evaluation.figures import curves, image_grid, save_png

PLOTS = "plots"


def draw_crops(crops: Sequence[Mapping[str, np.ndarray]], kinds: Sequence[str]) -> np.ndarray:
    """Draws held-out crops: image, labels, and each target beside what the network says.

    Args:
        crops: as `SegmentEvaluation.show` returns them.
        kinds: name of each target.

    Returns:
        `[height, width, 3]` uint8.
    """
    titles = ["image", "labels"]
    titles += [title for kind in kinds for title in (kind, f"{kind}, predicted")]
    rows = []
    for crop in crops:
        # Neighbouring ids get distant grey values; 0 stays black.
        shades = np.where(crop["labels"] > 0, (crop["labels"] * 0.618034) % 0.8 + 0.2, 0)
        row = [crop["image"], shades]
        for k in range(len(kinds)):
            truth = crop["truth"][..., k]
            row += [(truth + 1) / 2 if truth.min() < 0 else truth, crop["prediction"][..., k]]
        rows.append(row)
    return image_grid(rows, titles)


def draw_curves(folder: epath.Path, metrics: Sequence[str]) -> np.ndarray:
    """Draws the course of a run from its `metrics.jsonl`.

    Args:
        folder: run folder.
        metrics: of the evaluation.

    Returns:
        `[height, width, 3]` uint8.
    """
    lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]

    def course(name: str, group: str) -> tuple[list, list]:
        points = [
            (line["step"], line[group][name])
            for line in lines
            if group in line and name in line[group]
        ]
        return [p[0] for p in points], [p[1] for p in points]

    panels = {"loss": {"training": course("loss", "train"), "held out": course("val_loss", "eval")}}
    for name in metrics:
        panels[name.removeprefix("val_").replace("_", " ")] = {"held out": course(name, "eval")}
    return curves(panels)


def write_plots(
    folder: epath.Path,
    crops: Sequence[Mapping[str, np.ndarray]],
    kinds: Sequence[str],
    metrics: Sequence[str],
) -> list[epath.Path]:
    """Writes the pictures to `plots/`; returns their paths."""
    (folder / PLOTS).mkdir(exist_ok=True)
    pictures = {"crops.png": draw_crops(crops, kinds), "curves.png": draw_curves(folder, metrics)}
    paths = []
    for name, picture in pictures.items():
        paths.append(folder / PLOTS / name)
        save_png(paths[-1], picture)
    return paths


def closing_lines(
    folder: epath.Path, results: Mapping[str, float], plots: Sequence[epath.Path]
) -> str:
    """Returns what a user wants to know at the end: the scores, and where all is."""
    lines = [
        f"{'loss, first and last 5 %':<28}{results['loss_first']:>9.3f}   {results['loss_last']:.3f}"
    ]
    for name, value in results.items():
        if name.startswith("val_") and not name.startswith("val_loss_"):
            lines.append(
                f"{'held out, ' + name.removeprefix('val_').replace('_', ' '):<28}{value:>9.3f}"
            )
    lines += [
        f"checkpoints  {folder / 'checkpoints'}",
        f"results      {folder / 'results.json'}",
        f"pictures     {', '.join(map(str, plots))}",
        f"curves       tensorboard --logdir {folder / 'tensorboard'}",
    ]
    return "\n".join(lines)
