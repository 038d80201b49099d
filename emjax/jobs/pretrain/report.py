"""The pictures of a pretraining run, and the scores that it ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from emjax.pictures.figures import SIMILARITY, curves, image_grid
from emjax.train.job import summary_line
from emjax.train.pictures import read_courses, write_pictures

_TITLES = ("view", "other view, damaged", "other view, clean", "restored", SIMILARITY)


def draw_crops(crops: Sequence[Mapping[str, Any]], pixel_nm: float | None = None) -> np.ndarray:
    """Draws held-out crops: both views, target, reconstruction, and where a point of the first view is found.

    Args:
        crops: as `PretrainEvaluation.show` returns them.
        pixel_nm: voxel size along x, nm, for a scale bar; None if it is unknown or mixed.

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
    return image_grid(rows, _TITLES, marks, pixel_nm=pixel_nm)


def draw_curves(folder: epath.Path, references: Mapping[str, float]) -> np.ndarray:
    """Draws the course of a run from its record.

    Args:
        folder: run folder.
        references: scores of the untrained network, raw pixels, the position alone and chance.

    Returns:
        `[height, width, 3]` uint8.
    """
    trained, evaluated = read_courses(folder, "train"), read_courses(folder, "eval")

    def parts(group: str) -> dict[str, Any]:
        prefix = f"{group}/"
        names = sorted(name for name in trained if name.startswith(prefix))
        return {name.removeprefix(prefix): trained[name] for name in names}

    untrained = references["retrieval_top1_untrained"]
    steps, top1 = evaluated.get("retrieval_top1", ([], []))
    ranked, ranks = evaluated.get("effective_rank", ([], []))
    rank = references["effective_rank_untrained"]
    return curves(
        {
            "losses": parts("loss"),
            "share of the gradient": parts("gradient_share"),
            "retrieval, top-1": {"trained": ([0, *steps], [untrained, *top1])},
            "effective rank": {"trained": ([0, *ranked], [rank, *ranks])},
        },
        {
            "retrieval, top-1": {
                "raw pixels": references["retrieval_top1_raw"],
                "untrained": untrained,
                "position alone": references["retrieval_top1_position"],
                "chance": references["retrieval_top1_chance"],
            },
            "effective rank": {"untrained": rank},
        },
    )


def write_plots(
    folder: epath.Path,
    crops: Sequence[Mapping[str, Any]],
    references: Mapping[str, float],
    pixel_nm: float | None = None,
) -> list[epath.Path]:
    """Writes the pictures to `plots/`; returns their paths."""
    pictures = {"crops.png": draw_crops(crops, pixel_nm)} if crops else {}
    return write_pictures(folder, pictures | {"curves.png": draw_curves(folder, references)})


def summarise(results: Mapping[str, float]) -> list[str]:
    """Returns the scores beside what they compare with, a line each."""
    rows = (
        ("retrieval top-1", "retrieval_top1", ".3f"),
        ("matching error, voxels", "matching_error_voxels", ".1f"),
        ("the same by cosines", "matching_error_cosine_voxels", ".1f"),
        ("reconstruction PSNR, dB", "psnr_db", ".1f"),
        ("effective rank", "effective_rank", ".1f"),
        ("membrane probe, AP", "probe_average_precision", ".3f"),
    )
    return [
        summary_line(title, results, name, form) for title, name, form in rows if name in results
    ]
