"""Pictures of trees over the largest values of an image along each axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from emjax.geometry.sizes import Triple
from emjax.pictures.render import render

# Colours of trees in their order, seen on grey, also by those who do not see red and green apart.
COLOURS = ("#ff4fd8", "#2fe05a", "#4fb0ff")
# Longer side of the main picture, inches of 100 pixels.
_SIDE = 9.0
_GAP = 0.08


def draw_trees(
    projections: Sequence[np.ndarray],
    trees: Mapping[str, np.ndarray],
    spacing: Triple = (1.0, 1.0, 1.0),
    title: str = "",
) -> np.ndarray:
    """Draws an image from three sides, with trees as lines over it.

    Args:
        projections: of the image along z `[y, x]`, along y `[z, x]` and along x `[z, y]`.
        trees: name -> `[m, 2, 3]` ends of straight pieces, z, y, x voxels; 0 is the centre of the first voxel.
        spacing: (z, y, x) sides of a voxel, in any unit.
        title: of the picture.

    Returns:
        `[height, width, 3]` uint8. Of an image of one section only the view along z.
    """
    deep, height = projections[2].shape
    width = projections[0].shape[1]
    sides = np.multiply((deep, height, width), spacing)
    flat = deep == 1
    across, down = sides[2] + (0 if flat else sides[0]), sides[1] + (0 if flat else sides[0])
    inches = _SIDE / max(across, down)
    head = 0.45
    figure = Figure(figsize=(across * inches + _GAP, down * inches + _GAP + head), dpi=100)
    figure.patch.set_facecolor("black")
    rows, columns = ([sides[1]], [sides[2]]) if flat else (sides[[1, 0]], sides[[2, 0]])
    top = 1 - head / figure.get_figheight()
    grid = GridSpec(
        len(rows),
        len(columns),
        figure,
        0.0,
        0.0,
        1.0,
        top,
        0.01,
        0.01,
        width_ratios=[*columns],
        height_ratios=[*rows],
    )
    # Place in the grid, projection turned as it is shown, axes of a tree that go right and down.
    views = [((0, 0), projections[0], 2, 1)]
    if not flat:
        views += [((1, 0), projections[1], 2, 0), ((0, 1), projections[2].T, 0, 1)]
    for place, picture, right, below in views:
        axis = figure.add_subplot(grid[place])
        low, high = np.percentile(picture, (1, 99.7))
        axis.imshow(
            picture,
            cmap="gray",
            vmin=low,
            vmax=max(high, low + 1e-6),
            interpolation="nearest",
            aspect="auto",
        )
        for (name, pieces), colour in zip(trees.items(), COLOURS, strict=False):
            lines = LineCollection(
                pieces[:, :, [right, below]].tolist(), colors=colour, linewidths=0.9, label=name
            )
            axis.add_collection(lines)
        axis.set_xlim(-0.5, picture.shape[1] - 0.5)
        axis.set_ylim(picture.shape[0] - 0.5, -0.5)
        axis.set_axis_off()
    x = 0.01
    if title:
        figure.text(x, 1 - 0.25 / figure.get_figheight(), title, color="white", fontsize=9)
        x = 0.4
    for name, colour in zip(trees, COLOURS, strict=False):
        figure.text(x, 1 - 0.25 / figure.get_figheight(), name, color=colour, fontsize=10)
        x += 0.2
    return render(figure)
