"""Pictures of a run, as arrays for TensorBoard and PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emjax.pictures.render import render
from emjax.pictures.scale_bar import with_scale_bar

# Percentiles of a section between which a panel without fixed limits is drawn.
_ROBUST = (1.0, 99.0)
# Colour of NaN.
_UNKNOWN = "tab:orange"
# Title of a column that is drawn in colour whatever its range of values: cosines with the token of a marked point.
SIMILARITY = "similarity to the red point"
# Styles of lines to compare with.
_DASHES = ("--", ":", "-.", (0, (1, 3)))
# Curves whose largest value is so many times the smallest are drawn over a logarithmic axis.
_ORDERS = 100.0


def image_grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    titles: Sequence[str],
    marks: Mapping[tuple[int, int], Sequence[tuple[float, float, str]]] | None = None,
    inches: float = 2.2,
    names: Sequence[str] = (),
    pixel_nm: float | None = None,
) -> np.ndarray:
    """Draws rows of sections under common titles.

    Args:
        rows: sections `[y, x]`; grey values in [0, 1] are drawn as they are, others are stretched and coloured, and NaN
            is orange. A panel `[y, x, 3]` in [0, 1] is drawn in its own colours, and None leaves the place empty.
        titles: title of each column.
        marks: (row, column) -> points (y, x, matplotlib colour) drawn as crosses.
        inches: side of one section, inches.
        names: of the rows, written beside them; (): none.
        pixel_nm: voxel size along x, nm; a scale bar is drawn if it is known.

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
            if np.all((known >= 0) & (known <= 1)) and titles[c] != SIMILARITY:
                name, low, high = "gray", 0.0, 1.0
            else:
                name, (low, high) = "magma", np.percentile(known, _ROBUST)
            colours = colormaps[name].with_extremes(bad=_UNKNOWN)
            axis.imshow(section, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
            for y, x, colour in (marks or {}).get((r, c), ()):
                axis.plot(x, y, "+", color=colour, markersize=12, markeredgewidth=2)
    left = max(0.005, beside / width)
    figure.subplots_adjust(left, 0.005, 0.995, 1 - 0.3 / figure.get_figheight(), 0.03, 0.03)
    # The lowest of the panels at the left that are not empty.
    last = max((r for r, row in enumerate(rows) if row[0] is not None), default=0)
    return with_bar_of_axis(render(figure), axes[last, 0], pixel_nm)


def with_bar_of_axis(picture: np.ndarray, axis: Axes, pixel_nm: float | None) -> np.ndarray:
    """Returns a rendered figure with a scale bar in one of its panels.

    Args:
        picture: the figure, as `render` returns it.
        axis: one of its axes, over which a section is drawn.
        pixel_nm: voxel size of the section along x, nm; None: no bar.
    """
    if not pixel_nm:
        return picture
    left, right = (axis.transData.transform((x, 0))[0] for x in (0, 1))
    corner = (picture.shape[0] - axis.bbox.y0, axis.bbox.x0)
    return with_scale_bar(picture, pixel_nm / (right - left), corner, axis.bbox.width)


def curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    levels: Mapping[str, Mapping[str, float]] | None = None,
) -> np.ndarray:
    """Draws curves over training steps, in panels side by side, with the legend of each below it.

    A panel whose values are above 0 and span two orders of magnitude has a logarithmic axis.

    Args:
        panels: panel title -> curve name -> (steps, values).
        levels: panel title -> name -> constant to compare with, drawn dashed or dotted.

    Returns:
        `[height, width, 3]` uint8.
    """
    figure = Figure(figsize=(4.2 * len(panels), 3.2), dpi=100, layout="constrained")
    for axis, (title, lines) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        constants = (levels or {}).get(title, {})
        for name, (steps, values) in lines.items():
            axis.plot(steps, values, label=name, marker="." if len(steps) < 20 else "")
        for index, (name, value) in enumerate(constants.items()):
            style = _DASHES[index % len(_DASHES)]
            axis.axhline(value, linestyle=style, color=str(0.2 + 0.12 * index), label=name)
        shown = [v for _, values in lines.values() for v in values] + list(constants.values())
        shown = [v for v in shown if np.isfinite(v)]
        if shown and min(shown) > 0 and max(shown) >= _ORDERS * min(shown):
            axis.set_yscale("log")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.grid(alpha=0.3)
        # Below the panel: inside it would lie over a line.
        columns = min(3, max(1, len(lines) + len(constants)))
        axis.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=columns,
            fontsize=8,
            frameon=False,
            columnspacing=1.2,
        )
    return render(figure)
