"""What the job `tune` shows at its end: the best trials, and a picture of the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emjax.evaluation.contingency import Contingency
from emjax.geometry.box import Box
from emjax.jobs.segment.inputs import DECODING_FILE
from emjax.jobs.tune.settings import CLASS_METRICS
from emjax.pictures.agreement import Agreement
from emjax.pictures.comparison import draw_comparison
from emjax.segmentation.methods import METHODS
from emjax.segmentation.prediction import Prediction
from emjax.segmentation.settings import format_settings
from emjax.viewing.snapshot import read_image
from emjax.volumes.volume import Volume

# Rows of the table.
_SHOWN = 10
# Most voxels of a section that are drawn along y and x, from the middle; sections, as shares of the depth.
_LARGEST = 512
_SECTIONS = (0.15, 0.5, 0.85)


def draw_best(
    volume: Volume, box: Box, prediction: Prediction, true: np.ndarray, found: np.ndarray
) -> np.ndarray:
    """Draws three sections of the best segmentation beside the labels, with its errors.

    Args:
        volume: the prediction.
        box: part of it that was segmented.
        prediction: that part.
        true: `[z, y, x]` labels of the part, 0 for what is no object or not known.
        found: `[z, y, x]` segmentation of the part.

    Returns:
        `[height, width, 3]` uint8.
    """
    depth, height, width = true.shape
    y, x = (max(0, n - _LARGEST) // 2 for n in (height, width))
    size = (1, min(height, _LARGEST), min(width, _LARGEST))
    chosen = sorted({round(q * (depth - 1)) for q in _SECTIONS})
    inner = [Box((z, y, x), size) for z in chosen]
    images = read_image(volume, [part.translate(box.start) for part in inner])
    title = "image"
    if images is None:
        # Of affinities one that joins neighbours within a section: membranes are dark.
        near = [i for i, o in enumerate(prediction.offsets) if o is not None and o[0] == 0]
        channel = near[0] if near else 0
        scale = 255 if prediction.array.dtype == np.uint8 else 1
        grey = prediction.array[channel]
        images = [np.asarray(grey[part.slices][0], np.float32) / scale for part in inner]
        title = f"{prediction.names[channel]} (image not known)"
    return draw_comparison(
        images,
        [true[part.slices][0] for part in inner],
        [found[part.slices][0] for part in inner],
        Agreement.of(Contingency.from_arrays(true, found)),
        [f"z {box.start[0] + z}" for z in chosen],
        volume.voxel_nm[2] if volume.voxel_nm else None,
        image_title=title,
    )


def closing_lines(
    metric: str, folder: Path, method: str, known: Sequence[Mapping[str, Any]], picture: str
) -> str:
    """Returns the best trials as a table, where everything is, and what can be done with it.

    Args:
        metric: by which trials are sorted.
        folder: of the run.
        method: of segmentation.
        known: trials, the best first.
        picture: path of the picture; '' if there is none.
    """
    shown = list(dict.fromkeys((metric, "voi_split", "voi_merge", "arand", "ap_50")))
    if METHODS.find(method).classes:
        shown = list(dict.fromkeys((metric, *CLASS_METRICS)))
    width = max(12, *(len(name) + 2 for name in shown))
    lines = ["".join(f"{name:>{width}}" for name in shown) + f"    settings of {method}"]
    for row in known[:_SHOWN]:
        values = [row["scores"].get(name) for name in shown]
        cells = "".join(
            f"{value:>{width}.4f}" if value is not None else " " * width for value in values
        )
        lines.append(f"{cells}    {format_settings(row['settings'])}")
    lines.append(f"decoding     {folder / DECODING_FILE}")
    if picture:
        lines.append(f"picture      {picture}")
    lines.append(
        f"next         python -m emjax.main --config configs/segment.py --config.settings={folder} "
        "--config.input=PREDICTION --config.output=segmentation.zarr"
    )
    return "\n".join(lines)
