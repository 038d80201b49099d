"""Pictures of what jobs made: sections of an image, the prediction made of it and its segmentation, side by side."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.pictures.render import save_png
from emjax.viewing.layers import Layer, knows_nm, open_layers
from emjax.viewing.overlap import crop_layers, shared_box
from emjax.viewing.picture import (
    Plane,
    draw,
    plan_plane,
    read_plane,
    read_sections,
    with_bar,
)
from emjax.volumes.address import Address
from emjax.volumes.attributes import read_attributes
from emjax.volumes.volume import Volume

# Attribute of a prediction: address of the image that it was made of.
IMAGE = "image"


class Snapshot(NamedTuple):
    """A picture of sections.

    Attributes:
        pixels: `[height, width, 3]` uint8.
        sections: number of sections.
        shown: (down, right) pixels of a section that are shown.
        whole: (down, right) pixels of a whole section.
    """

    pixels: np.ndarray
    sections: int
    shown: tuple[int, int]
    whole: tuple[int, int]


def draw_layers(layers: Sequence[Layer], text: str, box: Box) -> Snapshot:
    """Draws a row for each section and a column for each layer, and a scale bar where a voxel size is known.

    Args:
        layers: layers, not cut to the box.
        text: which sections, as the field `sections` of `configs/view.py`.
        box: box that is shown, in voxels of the first layer.

    Raises:
        InputError: if the text is wrong.
    """
    shared = shared_box(layers, box)
    sections = read_sections(text, box, shared)
    plane = plan_plane(layers[0], sections.axis, box, shared)
    down, right = (
        round(box.size[a] * layers[0].voxel_nm[a] / plane.pixel_nm) for a in plane.across
    )
    pixels = draw(layers, sections, plane)
    if knows_nm(layers):
        pixels = with_bar(pixels, plane)
    return Snapshot(pixels, len(sections.indices), plane.size, (down, right))


def draw_result(prediction: str | Address, segmentation: str = "") -> np.ndarray | None:
    """Draws three sections of a prediction, of the image that it was made of, and of a segmentation of it.

    Args:
        prediction: address of the prediction, or of the part of it that was segmented.
        segmentation: path of the segmentation; '': there is none.

    Returns:
        `[height, width, 3]` uint8; None if nothing can be drawn, which is logged: the job itself has succeeded.
    """
    try:
        made = open_layers([str(prediction), *([segmentation] if segmentation else [])])
        image = open_source_image(prediction) or _channel_as_image(made[0], prediction)
        # Of the image only what the last volume covers, whose pixels are what is to be seen.
        last, *others = crop_layers([made[-1], image, *made[:-1]], _whole(made[-1]))
        layers = [*others, last]
        return draw_layers(layers, "", _whole(layers[0])).pixels
    except (InputError, OSError, ValueError) as error:
        logging.warning("no picture: %s", str(error).splitlines()[0] if str(error) else error)
        return None


def open_source_image(prediction: str | Address) -> Layer | None:
    """Returns the image that a prediction says that it was made of; None if it does not say, or it is not there."""
    address = read_attributes(prediction).get(IMAGE)
    if not isinstance(address, str):
        return None
    try:
        return open_layers([address])[0]
    except (InputError, OSError, ValueError):
        return None


def read_image(prediction: Volume, parts: Sequence[Box]) -> list[np.ndarray] | None:
    """Reads the image under sections of a prediction, at the prediction's pixels.

    Args:
        prediction: the prediction, or a part of it.
        parts: boxes of one section each, in its voxels.

    Returns:
        `[y, x]` float32 in [0, 1] of each section; None if the image is not known.
    """
    image = open_source_image(prediction.address)
    if image is None or prediction.voxel_nm is None:
        return None
    (over,) = open_layers([str(prediction.address)])
    low, high = image.limits
    found = []
    for part in parts:
        start = np.multiply(np.add(over.origin, part.start), over.voxel_nm)
        plane = Plane(0, (start[1], start[2]), over.voxel_nm[1], (part.size[1], part.size[2]))
        voxels, _ = read_plane(image, plane, float(start[0] + over.voxel_nm[0] / 2))
        found.append(np.clip((voxels.astype(np.float32) - low) / (high - low), 0, 1))
    return found


def source_address(address: Address) -> str:
    """Returns what a prediction stores as the address of its image: absolute, and of the whole part that was given."""
    return str(address.absolute())


def _channel_as_image(made: Layer, prediction: str | Address) -> Layer:
    """Returns one channel of a prediction as an image: of affinities one within sections, where membranes are dark."""
    address = Address.parse(prediction) if isinstance(prediction, str) else prediction
    channel = made.colours[1 if len(made.colours) > 1 else 0] if made.colours else None
    keys = dict(address.keys) if channel is None else {**address.keys, "channel": str(channel)}
    (layer,) = open_layers([str(dataclasses.replace(address, keys={**keys, "kind": "image"}))])
    name = made.channels[channel] if made.channels and channel is not None else "prediction"
    return dataclasses.replace(layer, name=f"{name} (image not known)")


def _whole(layer: Layer) -> Box:
    return Box((0, 0, 0), layer.volume.size)


def save_to_plots(folder: str | os.PathLike[str], name: str, picture: np.ndarray | None) -> str:
    """Writes a picture to `plots/` of a run folder; returns its path, '' if there is none (remote folders)."""
    if picture is None or "://" in os.fspath(folder):
        return ""
    plots = Path(os.fspath(folder)) / "plots"
    plots.mkdir(exist_ok=True)
    save_png(plots / name, picture)
    return str(plots / name)
