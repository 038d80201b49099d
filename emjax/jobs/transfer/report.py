"""What a comparison of arms ends with: a table, numbers, and a picture of each arm's prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from etils import epath

from emjax.jobs.transfer.compare import table
from emjax.jobs.transfer.judge import Crops
from emjax.pictures.figures import image_grid
from emjax.runs.folder import RESULTS_FILE, write_results
from emjax.runs.whole_file import write_whole
from emjax.targets.metrics import Metric
from emjax.train.pictures import write_pictures

TABLE_FILE = "table.md"
_SHOWN = 3


def write_report(
    folder: Path,
    metrics: Mapping[str, Metric],
    found: Mapping[str, Sequence[Crops]],
    resamples: int,
    heading: str,
    *,
    complete: bool,
) -> list[str]:
    """Writes `table.md` and `plots/arms.png`, and `results.json` once all arms are there.

    Args:
        folder: of the comparison.
        metrics: `val_<metric>` -> the metric.
        found: title of an arm -> of each finished seed what it made of the held-out crops.
        resamples: of the bootstrap.
        heading: first line of the table: what was compared.
        complete: whether all runs are finished.

    Returns:
        Lines to print.
    """
    sums = {arm: [crops.sums for crops in runs] for arm, runs in found.items() if runs}
    if not sums:
        return []
    lines, numbers = table(metrics, sums, resamples)
    note = "" if complete else " (not finished)"
    text = "\n".join([heading + note, *lines]) + "\n"
    write_whole(folder / TABLE_FILE, text.encode())
    shown = {arm: runs[0].shown for arm, runs in found.items() if runs}
    pixel_nm = next(runs[0].pixel_nm for runs in found.values() if runs)
    pictures = write_pictures(epath.Path(folder), {"arms.png": draw_arms(shown, pixel_nm)})
    printed = [text, f"table        {folder / TABLE_FILE}", f"picture      {pictures[0]}"]
    if complete:
        write_results(folder, numbers)
        printed.append(f"results      {folder / RESULTS_FILE}")
    return printed


def draw_arms(
    shown: Mapping[str, Mapping[str, np.ndarray]], pixel_nm: float | None = None
) -> np.ndarray:
    """Draws held-out crops: image, the first target, and what each arm says of it.

    Args:
        shown: title of an arm -> `Crops.shown`; the crops are the same for all.
        pixel_nm: voxel size along x, nm, for a scale bar.

    Returns:
        `[height, width, 3]` uint8.
    """
    first = next(iter(shown.values()))
    # Those of which most is known.
    order = np.argsort(-np.nansum(np.abs(first["truth"][..., 0]), axis=(1, 2)), kind="stable")
    rows = []
    for crop in order[:_SHOWN]:
        truth = first["truth"][crop, ..., 0]
        # Targets in [-1, 1] are stored in [0, 1].
        truth = (truth + 1) / 2 if np.any(truth < 0) else truth
        predictions = [arrays["prediction"][crop, ..., 0] for arrays in shown.values()]
        rows.append([first["image"][crop], truth, *predictions])
    return image_grid(rows, ["image", "labels", *shown], pixel_nm=pixel_nm)
