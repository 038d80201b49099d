"""Pictures of a training run: writes them, and reads the recorded courses that curves are drawn from."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from etils import epath

from emjax.pictures.render import save_png
from emjax.train.metrics import METRICS_FILE

PICTURE_FOLDER = "plots"

# The course of a metric: steps, and its value at each.
Course = tuple[list[int], list[float]]


def read_courses(folder: epath.Path, group: str) -> dict[str, Course]:
    """Reads the courses of the metrics that a run recorded.

    Args:
        folder: run folder.
        group: group of metrics, 'train' or 'eval'.

    Returns:
        Metric -> its course; metrics that were never recorded are absent.
    """
    courses: dict[str, Course] = {}
    for text in (folder / METRICS_FILE).read_text().splitlines():
        line = json.loads(text)
        for name, value in line.get(group, {}).items():
            steps, values = courses.setdefault(name, ([], []))
            steps.append(line["step"])
            values.append(value)
    return courses


def write_pictures(folder: epath.Path, pictures: Mapping[str, np.ndarray]) -> list[epath.Path]:
    """Writes pictures to `plots/`.

    Args:
        folder: run folder.
        pictures: name of the file -> `[height, width, 3]` uint8.

    Returns:
        Paths of the pictures.
    """
    (folder / PICTURE_FOLDER).mkdir(exist_ok=True)
    paths = [folder / PICTURE_FOLDER / name for name in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        save_png(path, picture)
    return paths
