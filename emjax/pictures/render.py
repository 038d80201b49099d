"""Figures as arrays, and arrays as PNG files; matplotlib without its global state."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from etils import epath
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from emjax.runs.whole_file import open_whole


def render(figure: Figure) -> np.ndarray:
    """Returns a figure as `[height, width, 3]` uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_png(path: Path | epath.Path, picture: np.ndarray) -> None:
    """Writes `[height, width, 3]` uint8 as PNG, in one piece, to a folder that exists."""
    from matplotlib.image import imsave

    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    with open_whole(path) as file:
        imsave(cast("BinaryIO", file), picture, format="png")
