"""Pictures of segmentations: ids as colours over the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from emjax.pictures.figures import with_bar_of_axis
from emjax.pictures.render import render

# Share of the ids' colour where it is drawn over an image.
_OPACITY = 0.45


def id_colours(ids: np.ndarray) -> np.ndarray:
    """Returns a colour for each id; an id always has the same colour, and 0 is black.

    Args:
        ids: `[...]` integers.

    Returns:
        `[..., 3]` float32 in [0, 1].
    """
    mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    hue = (mixed & np.uint64(0xFFFF)).astype(np.float32) / 0x10000
    value = 0.65 + 0.35 * ((mixed >> np.uint64(16)) & np.uint64(0xFF)).astype(np.float32) / 255
    # Converts hue to red, green, blue, at a saturation of 3/4, which is easier on the eyes.
    wheel = np.abs((hue[..., None] * 6 + np.array([3, 5, 1], np.float32)) % 6 - 3) - 1
    colours = value[..., None] * (1 - 0.75 * (1 - np.clip(wheel, 0, 1)))
    return np.where((ids == 0)[..., None], 0, colours).astype(np.float32)


def borders(ids: np.ndarray) -> np.ndarray:
    """Marks the voxels of a section whose right or lower neighbour has another id.

    Args:
        ids: `[y, x]` integers.

    Returns:
        `[y, x]` bool.
    """
    found = np.zeros(ids.shape, bool)
    found[:-1] |= ids[:-1] != ids[1:]
    found[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    return found


def overlay(
    image: np.ndarray | None, ids: np.ndarray, colour_ids: np.ndarray | None = None
) -> np.ndarray:
    """Draws the ids of a section over its image.

    Args:
        image: `[y, x]` in [0, 1]; None: only colours are drawn.
        ids: `[y, x]` integers.
        colour_ids: `[y, x]` integers that choose the colours instead of the ids themselves.

    Returns:
        `[y, x, 3]` float32 in [0, 1].
    """
    colours = id_colours(ids if colour_ids is None else colour_ids)
    if image is not None:
        grey = np.repeat(image[..., None], 3, axis=-1).astype(np.float32)
        mixed = (1 - _OPACITY) * grey + _OPACITY * colours
        colours = np.where((ids == 0)[..., None], grey, mixed)
    return np.where(borders(ids)[..., None], 0.55 * colours + 0.45, colours).astype(np.float32)


def section_grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    labels: Sequence[str],
    pixel_nm: float | None = None,
) -> np.ndarray:
    """Draws sections in rows under common titles, with a label beside each row.

    Args:
        rows: rows of sections, `[y, x]` grey or `[y, x, 3]`, in [0, 1].
        titles: title of each column.
        labels: label of each row.
        pixel_nm: voxel size along x, nm; a scale bar is drawn if it is known.

    Returns:
        `[height, width, 3]` uint8.
    """
    height, width = rows[0][0].shape[:2]
    size = 3.0
    figure = Figure(figsize=(size * len(titles), size * height / width * len(rows) + 0.3), dpi=100)
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for r, row in enumerate(rows):
        for c, section in enumerate(row):
            axis = axes[r, c]
            axis.imshow(section, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if r == 0:
                axis.set_title(titles[c], fontsize=9)
            if c == 0:
                axis.set_ylabel(labels[r], fontsize=8)
    top = 1 - 0.3 / figure.get_figheight()
    figure.subplots_adjust(0.03, 0.005, 0.995, top, 0.02, 0.02)
    return with_bar_of_axis(render(figure), axes[-1, 0], pixel_nm)
