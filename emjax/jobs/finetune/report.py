"""The pictures of a finetuning run, and the scores that it ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from emjax.pictures.figures import curves, image_grid
from emjax.pictures.overlays import overlay
from emjax.train.job import summary_line
from emjax.train.pictures import read_courses, write_pictures

# Red, green, blue of what is not known, as `image_grid` draws NaN; half a level more, as matplotlib rounds down.
_UNKNOWN = np.minimum((np.asarray((255, 127, 14), np.float32) + 0.5) / 255, 1)


def draw_crops(
    crops: Sequence[Mapping[str, np.ndarray]], kinds: Sequence[str], pixel_nm: float | None = None
) -> np.ndarray:
    """Draws held-out crops: image, labels, and each target beside what the network says; what is masked is orange.

    Args:
        crops: as `SegmentEvaluation.show` returns them.
        kinds: name of each target.
        pixel_nm: voxel size along x, nm, for a scale bar; None if it is unknown or mixed.

    Returns:
        `[height, width, 3]` uint8.
    """
    titles = ["image", "labels"]
    titles += [title for kind in kinds for title in (kind, f"{kind}, predicted")]
    rows = []
    for crop in crops:
        ids = np.where(crop["labels"] > 0, crop["labels"], 0)
        drawn = np.where((crop["labels"] < 0)[..., None], _UNKNOWN, overlay(crop["image"], ids))
        row = [crop["image"], drawn]
        for k in range(len(kinds)):
            truth = crop["truth"][..., k]
            signed = np.any(truth < 0)
            row += [(truth + 1) / 2 if signed else truth, crop["prediction"][..., k]]
        rows.append(row)
    return image_grid(rows, titles, pixel_nm=pixel_nm)


def draw_curves(folder: epath.Path, metrics: Sequence[str]) -> np.ndarray:
    """Draws the course of a run from its record.

    Args:
        folder: run folder.
        metrics: of the evaluation.

    Returns:
        `[height, width, 3]` uint8.
    """
    trained, evaluated = read_courses(folder, "train"), read_courses(folder, "eval")
    nothing = ([], [])
    panels = {
        "loss": {
            "training": trained.get("loss", nothing),
            "held out": evaluated.get("val_loss", nothing),
        }
    }
    for name in metrics:
        title = name.removeprefix("val_").replace("_", " ")
        panels[title] = {"held out": evaluated.get(name, nothing)}
    return curves(panels)


def write_plots(
    folder: epath.Path,
    crops: Sequence[Mapping[str, np.ndarray]],
    kinds: Sequence[str],
    metrics: Sequence[str],
    pixel_nm: float | None = None,
) -> list[epath.Path]:
    """Writes the pictures to `plots/`; returns their paths."""
    drawn = draw_crops(crops, kinds, pixel_nm)
    return write_pictures(folder, {"crops.png": drawn, "curves.png": draw_curves(folder, metrics)})


def summarise(results: Mapping[str, float]) -> list[str]:
    """Returns the held-out loss and metrics, a line each."""
    names = [n for n in results if n.startswith("val_") and not n.startswith("val_loss_")]
    return [
        summary_line(f"held out, {n.removeprefix('val_').replace('_', ' ')}", results, n, ".3f")
        for n in names
    ]
