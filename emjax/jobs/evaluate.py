"""The job `evaluate`: how good a segmentation is, block by block."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from emjax.data.normalization import measure
from emjax.errors import InputError
from emjax.evaluation.average_precision import average_precision
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.figures import save_png
from emjax.evaluation.overlap import foreground_overlap
from emjax.evaluation.overlays import overlay, section_grid
from emjax.evaluation.partition import adapted_rand, variation_of_information
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.train.run_folder import RESULTS_FILE, open_run_folder, write_results
from emjax.volume_config import validate_volume_config
from emjax.volumes.store import Volume, open_volume

# Voxels that are counted at a time.
_BLOCK = (64, 512, 512)
_SECTIONS = 3
# Pictures are of at most so many voxels along y and x, from the middle.
_SHOWN = 512


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Scores a segmentation as configured, and writes `results.json` and plots to `workdir`.

    Args:
        config: as made by `configs/evaluate.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if the configuration or the volumes cannot work.
    """
    validate_volume_config(config, ("segmentation", "labels"))
    labels = open_ids(config.labels, "labels")
    segmentation = open_ids(config.segmentation, "segmentation")
    mask = open_volume(config.mask) if config.mask else None
    image = open_volume(config.image) if config.image else None
    for name, volume in (("segmentation", segmentation), ("mask", mask), ("image", image)):
        if volume is not None and volume.size != labels.size:
            raise InputError(
                f"{name} {volume.name} is {volume.size} voxels, labels {labels.name} are {labels.size}; they must be "
                "equal: give boxes that match"
            )
    whole = Box((0, 0, 0), labels.size)
    box = Box.from_text(config.box, labels.size) if config.box else whole
    folder = open_run_folder(workdir, config)

    table = count(config, labels, segmentation, mask, box)
    if not table.voxels:
        raise InputError(
            f"every voxel of {labels.name} in {box} is ignored or masked: nothing can be scored; check ignore_ids and "
            "mask"
        )
    results = score(table, score_background=config.score_background)
    plots = Path(os.fspath(folder)) / "plots"
    plots.mkdir(exist_ok=True)
    save_png(plots / "sections.png", _draw(image, labels, segmentation, box))
    write_results(folder, results)
    print(_closing_lines(config, Path(os.fspath(folder)), table, results), flush=True)
    return 0


def open_ids(address: str, name: str) -> Volume:
    """Opens a volume of ids.

    Args:
        address: of the volume.
        name: for the message.

    Raises:
        InputError: if it is no volume of integers with axes z, y, x.
    """
    volume = open_volume(address)
    if volume.dtype.kind not in "uib" or len(volume.shape) != 3:
        raise InputError(
            f"{name} {volume.name} is {volume.dtype}{list(volume.shape)}; ids are integers with axes z, y, x"
        )
    return volume


def count(
    config: Mapping, labels: Volume, segmentation: Volume, mask: Volume | None, box: Box
) -> Contingency:
    """Counts the pairs of ids block by block.

    Args:
        config: with `background_ids`, `ignore_ids` and `block_size`.
        labels: the truth.
        segmentation: of the same size.
        mask: of the same size, or None.
        box: the part that is counted.
    """
    size = tuple(config["block_size"]) or tuple(map(min, _BLOCK, box.size))
    grid = Grid(box, size)
    parts = []
    for block in tqdm(grid, total=len(grid), desc="evaluate", disable=None, unit="block"):
        chosen = mask.read(block.core) != 0 if mask is not None else None
        parts.append(
            Contingency.from_arrays(
                labels.read(block.core),
                segmentation.read(block.core),
                background_ids=config["background_ids"],
                ignore_ids=config["ignore_ids"],
                mask=chosen,
            )
        )
        # The table of all blocks so far, or there would be as many tables as blocks.
        parts = [Contingency.total(parts)]
    return Contingency.total(parts)


def score(table: Contingency, *, score_background: bool = False) -> dict[str, float]:
    """Returns all scores of a table.

    Args:
        table: with the background of the truth.
        score_background: whether VOI and Rand judge it, too.
    """
    judged = table if score_background else table.without_background()
    partition = variation_of_information(judged) | adapted_rand(judged)
    if "voi" in partition and "arand" in partition:
        # CREMI's score of neurons, the geometric mean.
        partition["cremi_score"] = math.sqrt(partition["voi"] * max(partition["arand"], 0.0))
    objects = {
        "labels": int(np.count_nonzero(table.label_sizes()[0])),
        "segments": int(np.count_nonzero(table.segment_sizes()[0])),
        "voxels": table.voxels,
    }
    return partition | average_precision(table) | foreground_overlap(table) | objects


def _draw(image: Volume | None, labels: Volume, segmentation: Volume, box: Box) -> np.ndarray:
    """Draws image, labels and segmentation of three sections."""
    start, size = list(box.start), list(box.size)
    for axis in (1, 2):
        start[axis] += max(0, size[axis] - _SHOWN) // 2
        size[axis] = min(size[axis], _SHOWN)
    normalization = measure(image) if image is not None else None
    chosen = sorted({round(q * (size[0] - 1)) for q in np.linspace(0.15, 0.85, _SECTIONS)})
    rows = []
    for z in chosen:
        part = Box((start[0] + z, start[1], start[2]), (1, size[1], size[2]))
        grey = normalization.apply(image.read(part))[0] / 255 if image is not None else None
        ids = [volume.read(part)[0] for volume in (labels, segmentation)]
        row = [overlay(grey, np.where(i < 0, 0, i)) for i in ids]
        rows.append(row if grey is None else [grey, *row])
    titles = ["labels", "segmentation"]
    names = [f"z {box.start[0] + z}" for z in chosen]
    return section_grid(rows, titles if image is None else ["image", *titles], names)


def _closing_lines(
    config: ConfigDict, folder: Path, table: Contingency, results: Mapping[str, float]
) -> str:
    """Returns what a user wants to know at the end."""

    def line(title: str, *names: str) -> str:
        values = [f"{n} {results[n]:.4f}" for n in names if n in results]
        return f"{title:<26}{'   '.join(values) if values else 'nothing to score'}"

    background = "scored as one object" if config.score_background else "not scored by VOI and Rand"
    ignored = ", ".join(map(str, config.ignore_ids)) or "none but negative and the largest uint64"
    return "\n".join(
        (
            line("variation of info., bits", "voi", "voi_split", "voi_merge"),
            line("adapted Rand error", "arand", "arand_precision", "arand_recall"),
            line(
                "average precision", "ap_50", "ap_75", "ap_75_small", "ap_75_medium", "ap_75_large"
            ),
            line("foreground", "foreground_iou", "mean_iou", "dice"),
            f"{table.voxels:,} voxels, {results['labels']:,} objects, {results['segments']:,} segments",
            f"ids of the labels: background {', '.join(map(str, config.background_ids)) or 'none'} ({background}), "
            f"ignored {ignored}; segment 0 counts as one segment",
            f"results      {folder / RESULTS_FILE}",
            f"pictures     {folder / 'plots' / 'sections.png'}",
        )
    )
