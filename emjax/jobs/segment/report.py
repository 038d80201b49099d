"""What the job `segment` shows at its end: sections of prediction and segmentation, and where everything is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from etils import epath

from emjax.geometry.box import Box
from emjax.pictures.figures import save_png
from emjax.pictures.overlays import overlay, section_grid
from emjax.runs.folder import RESULTS_FILE
from emjax.segmentation.passes import Plan
from emjax.volumes.create import open_created

# Voxels of a section that are drawn, along y and x.
_SHOWN = 512


def save_picture(folder: str | os.PathLike[str], plan: Plan, output: str) -> Path | None:
    """Draws three sections, the middle of each, and returns the file; None where the folder is remote.

    Args:
        folder: of the run.
        plan: of the segmentation.
        output: the segmentation.
    """
    if "://" in os.fspath(folder):
        return None
    plots = Path(os.fspath(folder)) / "plots"
    plots.mkdir(exist_ok=True)
    outer = plan.cells.outer
    # Of affinities one that joins neighbours within a section: membranes are dark.
    offsets = plan.channels.offsets
    in_plane = [i for i, o in enumerate(offsets) if o is not None and o[0] == 0]
    index = in_plane[0] if in_plane else 0
    depth, height, width = outer.size
    corner = tuple(max(0, n - _SHOWN) // 2 for n in (height, width))
    size = (1, min(height, _SHOWN), min(width, _SHOWN))
    store = open_created(output)
    rows, chosen = [], sorted({round(q * (depth - 1)) for q in (0.15, 0.5, 0.85)})
    for z in chosen:
        box = Box((z, *corner), size)
        stored = plan.channels.read(box.translate(outer.start)).array[index]
        scale = 255 if stored.dtype == np.uint8 else 1
        grey = np.asarray(stored[0], np.float32) / scale
        rows.append([grey, overlay(grey, store[box.slices].read().result()[0])])
    titles = (plan.channels.names[index], "segmentation")
    path = plots / "sections.png"
    save_png(path, section_grid(rows, titles, [f"z {z}" for z in chosen]))
    return path


def closing_lines(
    output: str,
    folder: str | os.PathLike[str],
    plan: Plan,
    results: Mapping[str, float | int],
    picture: Path | None,
) -> str:
    """Returns what was made, where it is, and what can be done with it.

    Args:
        output: the segmentation.
        folder: of the run.
        plan: of the segmentation.
        results: as written.
        picture: if there is one.
    """
    rate = results.get("voxels_per_s")
    speed = f", {rate / 1e6:.3g} Mvoxel/s" if rate else ""
    lines = [
        f"segmentation {output}: {results['objects']:,} objects by {plan.method}, "
        f"{results['voxels']:,} voxels{speed}",
        f"graph        {plan.graph} (another threshold: --config.graph={plan.graph} and another output)",
        f"results      {epath.Path(folder) / RESULTS_FILE}",
    ]
    if picture:
        lines.append(f"pictures     {picture}")
    lines.append(
        "next         python -m emjax.main --config configs/evaluate.py "
        f"--config.segmentation={output} --config.labels=LABELS"
    )
    return "\n".join(lines)
