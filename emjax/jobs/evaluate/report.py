"""The pictures of an evaluation, and the lines that it ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from emjax.data.normalization import measure
from emjax.evaluation.contingency import Contingency
from emjax.geometry.box import Box
from emjax.jobs.evaluate.inputs import Inputs
from emjax.pictures.agreement import Agreement
from emjax.pictures.comparison import draw_comparison
from emjax.pictures.render import render, save_png
from emjax.runs.folder import RESULTS_FILE
from emjax.runs.whole_file import write_whole

PLOTS = "plots"
_SECTIONS = 3
# Above this share a cell of the confusion is too dark for black numbers.
_DARK = 0.6
# Pictures are of at most so many voxels along y and x, from the middle.
_SHOWN = 512
# Lines of the table: title, and names of scores.
_TABLE = (
    ("variation of info., bits", ("voi", "voi_split", "voi_merge")),
    ("adapted Rand error", ("arand", "arand_precision", "arand_recall")),
    ("CREMI score", ("cremi_score", "cremi_voi_split", "cremi_voi_merge", "cremi_rand")),
    ("average precision", ("ap_50", "ap_75", "ap_50_95")),
    ("  by size of object", ("ap_75_small", "ap_75_medium", "ap_75_large")),
    ("foreground", ("foreground_iou", "mean_iou", "dice")),
    ("", ("precision", "recall")),
    ("classes", ("class_mean_iou", "class_mean_dice", "class_accuracy")),
    ("boundaries", ("boundary_f1", "boundary_precision", "boundary_recall")),
    ("cleft distances, nm", ("cremi_cleft", "adgt_nm", "adf_nm")),
    ("expected run length, nm", ("erl_nm", "erl_normalized")),
    (
        "  share of the length",
        ("skeleton_correct", "skeleton_split", "skeleton_merged", "skeleton_omitted"),
    ),
)
_COUNTS = (
    ("objects", "labels"),
    ("segments", "segments"),
    ("segments that merge neurons", "skeleton_mergers"),
)


def draw_sections(inputs: Inputs, kind: str, table: Contingency | None) -> np.ndarray:
    """Draws image, labels, segmentation and its errors, of three sections of the part that was judged.

    Args:
        inputs: what was judged; image and labels may be missing.
        kind: as in `configs/evaluate.py`; segments have the colours of the objects that they match if it is
            'instances', ids are shown as they are if not.
        table: voxels that objects and segments share in the whole part; None without labels.

    Returns:
        `[height, width, 3]` uint8. What is no object, or not known, is black.
    """
    image, box, source = inputs.image, inputs.box, inputs.source
    start, size = list(box.start), list(box.size)
    for axis in (1, 2):
        start[axis] += max(0, size[axis] - _SHOWN) // 2
        size[axis] = min(size[axis], _SHOWN)
    normalization = measure(image) if image is not None else None
    chosen = sorted({round(q * (size[0] - 1)) for q in np.linspace(0.15, 0.85, _SECTIONS)})
    greys, trues, founds = [], [], []
    for z in chosen:
        part = Box((start[0] + z, start[1], start[2]), (1, size[1], size[2]))
        if image is not None and normalization is not None:
            greys.append(normalization.apply(image.read(part))[0] / 255)
        founds.append(source.segment_ids.segments(inputs.segmentation.read(part)[0]))
        if inputs.labels is not None:
            true = inputs.labels.read(part)[0]
            trues.append(np.where(source.label_ids.objects(true), true, 0))
    return draw_comparison(
        greys or None,
        trues or None,
        founds,
        Agreement.of(table) if table is not None and kind == "instances" else None,
        [f"z {box.start[0] + z}" for z in chosen],
        inputs.voxel_nm[2] if inputs.voxel_nm else None,
        # Two classes are foreground and background, whatever their ids.
        classes=kind == "semantic" and table is not None and len(table.label_sizes()[0]) > 2,
    )


def write_plots(folder: Path, pictures: Mapping[str, np.ndarray]) -> list[Path]:
    """Writes pictures to `plots/`; returns their paths."""
    (folder / PLOTS).mkdir(exist_ok=True)
    paths = [folder / PLOTS / name for name in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        save_png(path, picture)
    return paths


def closing_lines(
    folder: Path,
    scores: Mapping[str, float],
    remarks: Sequence[str],
    plots: Sequence[Path],
    classes: Mapping[str, str],
) -> str:
    """Returns what a user wants to know at the end: the scores, how they were judged, and where all is.

    Args:
        folder: of the run.
        scores: as in `results.json`.
        remarks: said with the scores.
        plots: pictures that were written.
        classes: id -> name, of a class map that says so.
    """
    lines = []
    for title, names in _TABLE:
        values = [
            f"{name.removeprefix('skeleton_')} {_text(scores[name])}"
            for name in names
            if name in scores
        ]
        if values:
            lines.append(f"{title:<26}{'   '.join(values)}")
    counts = [f"{scores[name]:,} {title}" for title, name in _COUNTS if name in scores]
    if counts:
        lines.append(f"{'counts':<26}{'   '.join(counts)}")
    lines += [
        *_class_lines(scores, classes),
        *remarks,
        f"results      {folder / RESULTS_FILE}",
        f"pictures     {', '.join(map(str, plots))}",
    ]
    return "\n".join(lines)


def _class_lines(scores: Mapping[str, float], classes: Mapping[str, str]) -> list[str]:
    """Returns a line for each class that was scored."""
    prefix = "class_iou_"
    ids = [name.removeprefix(prefix) for name in scores if name.startswith(prefix)]
    return [
        f"{f'  class {i} {classes.get(i, str())}'.rstrip():<26}iou {scores[prefix + i]:.4f}   "
        f"dice {scores[f'class_dice_{i}']:.4f}"
        for i in ids
    ]


def write_confusion(folder: Path, ids: np.ndarray, confusion: np.ndarray) -> None:
    """Writes `confusion.csv`: the voxels of each pair of classes, the true one down and the found one across.

    Args:
        folder: of the run.
        ids: `[k]` of the classes.
        confusion: `[k, k]` voxels.
    """
    head = ",".join(["true\\found", *map(str, ids)])
    rows = [",".join(map(str, [i, *row])) for i, row in zip(ids, confusion.tolist(), strict=True)]
    write_whole(folder / "confusion.csv", "\n".join([head, *rows, ""]).encode())


def draw_confusion(ids: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Draws how the voxels of each true class are shared among the found ones, as `[height, width, 3]` uint8."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(0.55 * len(ids) + 1.6, 0.55 * len(ids) + 1.2), dpi=100)
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(shares.shape):
        colour = "white" if shares[row, column] > _DARK else "black"
        text = f"{100 * shares[row, column]:.0f}"
        axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(ids)), [str(i) for i in ids])
    axis.set_yticks(range(len(ids)), [str(i) for i in ids])
    axis.set(xlabel="found class", ylabel="true class", title="% of the true class")
    figure.tight_layout()
    return render(figure)


def _text(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4f}"
