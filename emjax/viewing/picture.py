"""Draws sections of layers as one picture, for use without a browser."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.pictures.overlays import overlay
from emjax.pictures.render import render
from emjax.pictures.scale_bar import with_scale_bar
from emjax.viewing.layers import AFFINITIES, IMAGE, LABELS, Layer

# Largest side of a panel, pixels, to which a section is cut around its middle; and smallest side of a panel's longer
# side, to which it is enlarged.
_LARGEST, _SMALLEST = 768, 256
# Relative places of the sections that are drawn if none are chosen.
_POSITIONS = (0.15, 0.5, 0.85)
# Pixels between panels, height of titles above, width of labels at the left.
_GAP, _TITLE, _LABEL = 6, 22, 24
# Width of a title's letter, pixels.
_LETTER = 7
_DPI = 100
# Grey value drawn where a layer has no voxels.
_OUTSIDE = 0.2


class Sections(NamedTuple):
    """Sections of the first layer that are drawn.

    Attributes:
        axis: axis that the sections are perpendicular to: 0 for z, 1 for y, 2 for x.
        indices: places of the sections along the axis, in voxels of the first layer.
    """

    axis: int
    indices: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Plane:
    """The grid of square pixels of a section.

    Attributes:
        axis: axis that the section is perpendicular to.
        start_nm: (down, right) of the first pixel's corner, nm.
        pixel_nm: side of a pixel, nm.
        size: (down, right) number of pixels.
    """

    axis: int
    start_nm: tuple[float, float]
    pixel_nm: float
    size: tuple[int, int]

    @property
    def across(self) -> tuple[int, int]:
        """The axes (down, right) that are drawn downwards and to the right."""
        down, right = (a for a in range(3) if a != self.axis)
        return down, right


def read_sections(text: str, box: Box, shared: Box) -> Sections:
    """Parses which sections are drawn.

    Args:
        text: axis and voxels along it, such as 'z=10,20'; '': three sections along z, within `shared`.
        box: box that is shown, in voxels of the first layer.
        shared: the part of the box that all layers cover.

    Raises:
        InputError: if the text cannot be parsed, or a section lies outside of the box.
    """
    if not text.strip():
        chosen = sorted({round(q * (shared.size[0] - 1)) for q in _POSITIONS})
        return Sections(0, tuple(shared.start[0] + z for z in chosen))
    name, equals, numbers = text.replace(" ", "").partition("=")
    try:
        indices = tuple(int(number) for number in numbers.split(","))
    except ValueError:
        indices = ()
    if name not in ("z", "y", "x") or not equals or not indices:
        raise InputError(
            f"sections='{text}' must be an axis and voxels along it, as in sections=z=10,20"
        )
    axis = "zyx".index(name)
    first, stop = box.start[axis], box.stop[axis]
    outside = [index for index in indices if not first <= index < stop]
    if outside:
        raise InputError(
            f"sections={text}: {name}={outside[0]} lies outside of what is shown, {name} {first} to {stop - 1} of the "
            "first volume"
        )
    return Sections(axis, indices)


def plan_plane(first: Layer, axis: int, box: Box, shared: Box) -> Plane:
    """Returns the pixels of sections: of the whole box, or of what fits into a panel around the middle of `shared`.

    Args:
        first: the layer that `box` and `shared` refer to, not cut to them.
        axis: axis that the sections are perpendicular to.
        box: box that is shown, in voxels of the layer.
        shared: the part of the box that all layers cover.
    """
    across = [a for a in range(3) if a != axis]
    pixel_nm = min(first.voxel_nm[a] for a in across)
    starts, sizes = [], []
    for a in across:
        pixels = max(1, round(box.size[a] * first.voxel_nm[a] / pixel_nm))
        shown = min(pixels, _LARGEST)
        middle = (shared.start[a] - box.start[a] + shared.size[a] / 2) * first.voxel_nm[a]
        skipped = min(max(0, round(middle / pixel_nm - shown / 2)), pixels - shown)
        corner_nm = (first.origin[a] + box.start[a]) * first.voxel_nm[a]
        starts.append(float(corner_nm + skipped * pixel_nm))
        sizes.append(shown)
    return Plane(axis, tuple(starts), pixel_nm, tuple(sizes))


def draw(layers: Sequence[Layer], sections: Sections, plane: Plane) -> np.ndarray:
    """Draws a row for each section with a panel for each layer; labels are drawn over the first image.

    Args:
        layers: layers; the sections refer to the first one.
        sections: sections to be drawn.
        plane: pixels of the sections.

    Returns:
        `[height, width, 3]` uint8; a pixel of the plane becomes one pixel of a panel, or a square of several.
    """
    first = layers[0]
    rows = []
    for index in sections.indices:
        middle = first.origin[sections.axis] + index + 0.5
        depth_nm = middle * first.voxel_nm[sections.axis]
        rows.append(_draw_row(layers, plane, float(depth_nm)))
    labels = [f"{'zyx'[sections.axis]} {index}" for index in sections.indices]
    return _compose(rows, [layer.name for layer in layers], labels)


def with_bar(picture: np.ndarray, plane: Plane) -> np.ndarray:
    """Returns what `draw` returned, with a scale bar in the lower left corner.

    Args:
        picture: `[height, width, 3]` uint8.
        plane: pixels of the sections, in nm.
    """
    times = _times(*plane.size)
    corner = (picture.shape[0] - _GAP, _LABEL)
    return with_scale_bar(picture, plane.pixel_nm / times, corner, plane.size[1] * times)


def read_plane(layer: Layer, plane: Plane, depth_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """Reads the voxels at the centres of pixels; reads only the part of the layer that they need.

    Args:
        layer: layer to read.
        plane: the pixels.
        depth_nm: place of the section along the axis that the plane is perpendicular to, nm.

    Returns:
        `[down, right]` or `[c, down, right]` voxels, 0 outside of the layer; and `[down, right]` bool, whether each
        pixel is inside.
    """
    wanted = []
    for a in range(3):
        if a == plane.axis:
            centres = np.asarray([depth_nm])
        else:
            n = plane.across.index(a)
            centres = plane.start_nm[n] + (np.arange(plane.size[n]) + 0.5) * plane.pixel_nm
        wanted.append(np.floor(centres / layer.voxel_nm[a] - layer.origin[a] + 1e-6).astype(int))
    inside = [(w >= 0) & (w < n) for w, n in zip(wanted, layer.volume.size, strict=True)]
    covered = np.logical_and.outer(*(inside[a] for a in plane.across)) & inside[plane.axis][0]
    channels = layer.volume.shape[:-3]
    voxels = np.zeros((*channels, *plane.size), layer.volume.dtype)
    if not covered.any():
        return voxels, covered
    start = tuple(int(w[i].min()) for w, i in zip(wanted, inside, strict=True))
    stop = tuple(int(w[i].max()) + 1 for w, i in zip(wanted, inside, strict=True))
    part = layer.volume.read(Box.between(start, stop))
    index = np.ix_(*(w[i] - s for w, i, s in zip(wanted, inside, start, strict=True)))
    part = np.squeeze(part[(..., *index)], axis=plane.axis - 3)
    voxels[..., covered] = part.reshape(*channels, -1)
    return voxels, covered


def _draw_row(layers: Sequence[Layer], plane: Plane, depth_nm: float) -> list[np.ndarray]:
    """Returns the panel of each layer, `[down, right, 3]` in [0, 1]."""
    base, panels = None, []
    read = [read_plane(layer, plane, depth_nm) for layer in layers]
    for layer, (voxels, covered) in zip(layers, read, strict=True):
        if layer.kind == IMAGE and base is None:
            base = np.where(covered, _stretch(voxels, layer), _OUTSIDE)
    for layer, (voxels, covered) in zip(layers, read, strict=True):
        if layer.kind == LABELS:
            panel = overlay(base, voxels.astype(np.uint64))
            if base is None:
                panel = np.where(covered[..., None], panel, _OUTSIDE)
        elif layer.kind == AFFINITIES:
            chosen = [_stretch(voxels[c], layer) for c in layer.colours]
            chosen += [np.zeros(plane.size)] * (3 - len(chosen))
            panel = np.where(covered[..., None], np.stack(chosen, axis=-1), _OUTSIDE)
        else:
            grey = np.where(covered, _stretch(voxels, layer), _OUTSIDE)
            panel = np.repeat(grey[..., None], 3, axis=-1)
        panels.append(panel)
    return panels


def _times(height: int, width: int) -> int:
    return max(1, -(-_SMALLEST // max(height, width)))


def _stretch(voxels: np.ndarray, layer: Layer) -> np.ndarray:
    low, high = layer.limits
    values = np.nan_to_num(voxels.astype(np.float32), copy=False)
    return np.clip((values - low) / (high - low), 0, 1)


def _compose(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], labels: Sequence[str]
) -> np.ndarray:
    """Sets panels side by side without resampling, with titles above and labels at the left."""
    height, width = rows[0][0].shape[:2]
    times = _times(height, width)
    height, width = height * times, width * times
    whole = (
        _TITLE + len(rows) * (height + _GAP),
        _LABEL + len(titles) * (width + _GAP),
    )
    figure = Figure(figsize=(whole[1] / _DPI, whole[0] / _DPI), dpi=_DPI)
    letters = max(8, width // _LETTER)
    for c, title in enumerate(titles):
        # Long names are cut at their beginning, which says less than their end.
        text = title if len(title) <= letters else "…" + title[1 - letters :]
        x = (_LABEL + c * (width + _GAP) + width / 2) / whole[1]
        figure.text(x, 1 - _TITLE / 2 / whole[0], text, ha="center", va="center", fontsize=9)
    for r, label in enumerate(labels):
        y = 1 - (_TITLE + r * (height + _GAP) + height / 2) / whole[0]
        figure.text(
            _LABEL / 2 / whole[1], y, label, ha="center", va="center", rotation=90, fontsize=9
        )
    # matplotlib draws only the text, since it would resample the panels.
    picture = render(figure)
    for r, row in enumerate(rows):
        for c, panel in enumerate(row):
            top, left = _TITLE + r * (height + _GAP), _LABEL + c * (width + _GAP)
            pixels = np.rint(np.clip(panel, 0, 1) * 255).astype(np.uint8)
            pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
            picture[top : top + height, left : left + width] = pixels
    return picture
