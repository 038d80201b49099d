"""Pictures of a run, as arrays for TensorBoard and PNG files; matplotlib without its global state."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from etils import epath
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from emjax.runs.whole_file import open_whole

# Percentiles of a section between which a panel without fixed limits is drawn.
_ROBUST = (1.0, 99.0)
# Colour of NaN.
_UNKNOWN = "tab:orange"


def render(figure: Figure) -> np.ndarray:
    """Returns a figure as `[height, width, 3]` uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def image_grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    titles: Sequence[str],
    marks: Mapping[tuple[int, int], Sequence[tuple[float, float, str]]] | None = None,
    inches: float = 2.2,
    names: Sequence[str] = (),
) -> np.ndarray:
    """Draws rows of grey or colour-mapped sections under common titles.

    Args:
        rows: sections `[y, x]`; grey values in [0, 1] are drawn as they are, others are stretched and coloured, and NaN
            is orange. A panel `[y, x, 3]` in [0, 1] is drawn in its own colours, and None leaves the place empty.
        titles: title of each column.
        marks: (row, column) -> points (y, x, matplotlib colour) drawn as crosses.
        inches: side of one section, inches.
        names: of the rows, written beside them; (): none.

    Returns:
        `[height, width, 3]` uint8.
    """
    beside = 0.3 if names else 0.0
    width = inches * len(titles) + beside
    figure = Figure(figsize=(width, inches * len(rows) + 0.3), dpi=100)
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for r, row in enumerate(rows):
        for c, section in enumerate(row):
            axis = axes[r, c]
            axis.set_axis_off()
            if r == 0:
                axis.set_title(titles[c], fontsize=9)
            if c == 0 and names:
                # Beside the panel, in its coordinates, whatever it holds.
                place = {"transform": axis.transAxes, "rotation": 90, "fontsize": 9}
                axis.text(-0.04, 0.5, names[r], ha="right", va="center", **place)
            if section is None:
                continue
            if section.ndim == 3:
                axis.imshow(section, interpolation="nearest")
                continue
            known = section[~np.isnan(section)]
            if np.all((known >= 0) & (known <= 1)) and titles[c] not in _COLOURED:
                name, low, high = "gray", 0.0, 1.0
            else:
                name, (low, high) = "magma", np.percentile(known, _ROBUST)
            colours = colormaps[name].with_extremes(bad=_UNKNOWN)
            axis.imshow(section, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
            for y, x, colour in (marks or {}).get((r, c), ()):
                axis.plot(x, y, "+", color=colour, markersize=12, markeredgewidth=2)
    left = max(0.005, beside / width)
    figure.subplots_adjust(left, 0.005, 0.995, 1 - 0.3 / figure.get_figheight(), 0.03, 0.03)
    return render(figure)


# Titles of columns that are drawn in colour whatever their range of values.
_COLOURED = ("where it is found",)


def curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    levels: Mapping[str, Mapping[str, float]] | None = None,
) -> np.ndarray:
    """Draws curves over training steps, in panels side by side.

    Args:
        panels: panel title -> curve name -> (steps, values).
        levels: panel title -> name -> constant to compare with, drawn dashed.

    Returns:
        `[height, width, 3]` uint8.
    """
    figure = Figure(figsize=(4.2 * len(panels), 3.2), dpi=100, layout="constrained")
    for axis, (title, lines) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for name, (steps, values) in lines.items():
            axis.plot(steps, values, label=name, marker="." if len(steps) < 20 else "")
        for index, (name, value) in enumerate((levels or {}).get(title, {}).items()):
            axis.axhline(value, linestyle="--", color=f"0.{3 + 2 * index}", label=name)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return render(figure)


def save_png(path: Path | epath.Path, picture: np.ndarray) -> None:
    """Writes `[height, width, 3]` uint8 as PNG, in one piece, to a folder that exists."""
    from matplotlib.image import imsave

    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    with open_whole(path) as file:
        imsave(cast("BinaryIO", file), picture, format="png")
