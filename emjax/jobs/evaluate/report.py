"""The pictures of an evaluation, and the lines that it ends with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from emjax.data.normalization import measure
from emjax.geometry.box import Box
from emjax.jobs.evaluate.inputs import Inputs
from emjax.pictures.figures import save_png
from emjax.pictures.overlays import overlay, section_grid
from emjax.runs.folder import RESULTS_FILE

PLOTS = "plots"
_SECTIONS = 3
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
    ("classes", ("class_mean_iou",)),
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


def draw_sections(inputs: Inputs) -> np.ndarray:
    """Draws image, labels and segmentation of three sections of the part that was judged.

    Args:
        inputs: what was judged; image and labels may be missing.

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
    titles = ["labels", "segmentation"] if inputs.labels is not None else ["segmentation"]
    rows = []
    for z in chosen:
        part = Box((start[0] + z, start[1], start[2]), (1, size[1], size[2]))
        grey = None
        if image is not None and normalization is not None:
            grey = normalization.apply(image.read(part))[0] / 255
        ids = [source.segment_ids.segments(inputs.segmentation.read(part)[0])]
        if inputs.labels is not None:
            true = inputs.labels.read(part)[0]
            ids.insert(0, np.where(source.label_ids.objects(true), true, 0))
        row = [overlay(grey, i) for i in ids]
        rows.append(row if grey is None else [grey, *row])
    titles = titles if image is None else ["image", *titles]
    return section_grid(rows, titles, [f"z {box.start[0] + z}" for z in chosen])


def write_plots(folder: Path, pictures: Mapping[str, np.ndarray]) -> list[Path]:
    """Writes pictures to `plots/`; returns their paths."""
    (folder / PLOTS).mkdir(exist_ok=True)
    paths = [folder / PLOTS / name for name in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        save_png(path, picture)
    return paths


def closing_lines(
    folder: Path, scores: Mapping[str, float], remarks: Sequence[str], plots: Sequence[Path]
) -> str:
    """Returns what a user wants to know at the end: the scores, how they were judged, and where all is.

    Args:
        folder: of the run.
        scores: as in `results.json`.
        remarks: said with the scores.
        plots: pictures that were written.
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
        *remarks,
        f"results      {folder / RESULTS_FILE}",
        f"pictures     {', '.join(map(str, plots))}",
    ]
    return "\n".join(lines)


def _text(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4f}"
