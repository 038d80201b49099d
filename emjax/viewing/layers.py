"""Layers: the volumes that are shown, each with its kind, its place and how it is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from emjax.config import nearest
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Triple
from emjax.segmentation.prediction import NEAREST, show_channels
from emjax.viewing.contrast import Contrast, measure_contrast
from emjax.volumes.address import Entry, parse_volumes
from emjax.volumes.attributes import read_attributes
from emjax.volumes.origin import file_corner
from emjax.volumes.roles import IMAGE_KEYS, refuse_idle_keys
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

IMAGE, LABELS, AFFINITIES = "image", "labels", "affinities"
KINDS = (IMAGE, LABELS, AFFINITIES)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A volume and how it is drawn.

    Attributes:
        name: short name that no other layer has.
        kind: 'image', 'labels', or 'affinities' for anything with channels.
        volume: the volume, cut to the part that is shown.
        origin: (z, y, x) of the volume's corner, in its own voxels; may be fractions.
        voxel_nm: (z, y, x) voxel size, nm; (1, 1, 1) if no volume says its size.
        contrast: values that are drawn black and white; None for labels.
        channels: name of each channel; empty if there are no channels or their names are unknown.
        colours: indices of the channels drawn red, green and blue; empty if there are no channels.
    """

    name: str
    kind: str
    volume: Volume
    origin: Triple
    voxel_nm: Triple
    contrast: Contrast | None = None
    channels: tuple[str, ...] = ()
    colours: tuple[int, ...] = ()

    @property
    def limits(self) -> tuple[float, float]:
        """Values that are drawn black and white; not defined for labels."""
        assert self.contrast is not None
        return self.contrast.low, self.contrast.high

    @property
    def start_nm(self) -> np.ndarray:
        """First corner of the layer, `[3]` z, y, x, nm."""
        return np.multiply(self.origin, self.voxel_nm)

    @property
    def stop_nm(self) -> np.ndarray:
        """Last corner of the layer, `[3]` z, y, x, nm."""
        return np.multiply(np.add(self.origin, self.volume.size), self.voxel_nm)

    def crop(self, box: Box) -> Layer:
        """Returns a part of the layer.

        Args:
            box: box of the part, in voxels of the layer.
        """
        origin = tuple(o + s for o, s in zip(self.origin, box.start, strict=True))
        return dataclasses.replace(self, volume=self.volume.crop(box), origin=origin)


def open_layers(volumes: str | Sequence[str]) -> list[Layer]:
    """Opens volumes and determines their kinds.

    `?kind=image`, `labels` or `affinities` in an address decides. Without it, volumes with channels are drawn as
    affinities; segmentations by emjax, integers of 32 and 64 bits and masks are labels; the rest are images. Volumes
    without a voxel size are drawn with that of the first volume that has one.

    Args:
        volumes: addresses as in `data.volumes`; an address after '|' is of labels.

    Raises:
        InputError: if there are none, one cannot be opened, or one cannot be drawn as its kind.
    """
    entries = parse_volumes(volumes)
    if not entries:
        raise InputError(
            "volumes is empty; give --config.volumes='IMAGE; PREDICTION; LABELS', one or more addresses"
        )
    opened = []
    for kind, address in _addresses(entries):
        refuse_idle_keys(address, "volume", IMAGE_KEYS)
        volume = open_volume(address)
        kind = volume.address.keys.get("kind", kind)
        if kind and kind not in KINDS:
            raise InputError(f"{address}: kind='{kind}' is unknown{nearest(kind, KINDS)}")
        opened.append((kind, volume))
    sizes = {v.name: v.voxel_nm for _, v in opened if v.voxel_nm is not None}
    default = next(iter(sizes.values()), (1.0, 1.0, 1.0))
    for _, volume in opened:
        if volume.voxel_nm is None:
            used = (
                f"taken as that of {next(iter(sizes))}"
                if sizes
                else "its voxels are drawn as cubes"
            )
            logging.warning(
                "%s does not say its voxel size: %s; add ?voxel_nm=Z,Y,X to its address",
                volume.name,
                used,
            )
    layers: list[Layer] = []
    for kind, volume in opened:
        name = _short_name(volume, {layer.name for layer in layers})
        layers.append(_make(name, kind, volume, default))
    labels = [entry.labels for entry in entries if entry.labels is not None]
    return [
        _lie_over(layer, layers[number - 1]) if layer.volume.address in labels else layer
        for number, layer in enumerate(layers)
    ]


def _lie_over(labels: Layer, image: Layer) -> Layer:
    """Moves labels to the place of their image if both have one size and the labels' file does not say a place."""
    unsaid = not any(file_corner(labels.volume.address)) and not labels.volume.address.box
    same = labels.volume.size == image.volume.size and labels.voxel_nm == image.voxel_nm
    if not (unsaid and same and labels.origin != image.origin):
        return labels
    logging.warning(
        "%s does not say where it lies: it is drawn where %s lies, from voxel %s",
        labels.name,
        image.name,
        ",".join(f"{v:g}" for v in image.origin),
    )
    return dataclasses.replace(labels, origin=image.origin)


def knows_nm(layers: Sequence[Layer]) -> bool:
    """Whether any of the layers' volumes says its voxel size, so that lengths are in nanometres."""
    return any(layer.volume.voxel_nm is not None for layer in layers)


def describe(layer: Layer) -> str:
    """Returns a description of a layer in one line."""
    size = "x".join(map(str, layer.volume.shape))
    voxels = (
        "x".join(f"{v:g}" for v in layer.voxel_nm) + " nm"
        if layer.volume.voxel_nm is not None
        else "voxel size unknown"
    )
    text = f"{layer.kind:10} {layer.name}: {layer.volume.dtype} {size}, {voxels}"
    if any(layer.origin):
        text += ", from voxel " + ",".join(f"{v:g}" for v in layer.origin)
    if layer.kind == IMAGE:
        text += ", black {:.4g}, white {:.4g}".format(*layer.limits)
    if layer.kind == AFFINITIES:
        shown = [
            f"{colour} {layer.channels[c] if layer.channels else f'channel {c}'}"
            for colour, c in zip(("red", "green", "blue"), layer.colours, strict=False)
        ]
        text += f", {', '.join(shown)}"
    return text


def _addresses(entries: Sequence[Entry]) -> list[tuple[str, Any]]:
    """Returns (kind, address) of all volumes in their order; kind is '' if it is still to be determined."""
    found = []
    for entry in entries:
        found.append(("", entry.image))
        if entry.labels is not None:
            found.append((LABELS, entry.labels))
    return found


def _make(name: str, kind: str, volume: Volume, default_nm: Triple) -> Layer:
    attributes = read_attributes(volume.address)
    has_channels = len(volume.shape) == 4
    kind = kind or _guess_kind(volume, attributes)
    if kind == LABELS and (has_channels or volume.dtype.kind not in "uib"):
        raise InputError(
            f"{volume.name} is {volume.dtype}{list(volume.shape)}; labels are whole numbers with axes z, y, x"
        )
    if kind == AFFINITIES and not has_channels:
        raise InputError(
            f"{volume.name} has axes {list(volume.shape)}; affinities need c, z, y, x; use ?kind=image"
        )
    if kind == IMAGE and has_channels:
        raise InputError(
            f"{volume.name} has axes {list(volume.shape)}; an image needs z, y, x; use ?kind=affinities for channels"
        )
    start = np.add(file_corner(volume.address), volume.box.start)
    layer = Layer(name, kind, volume, tuple(float(v) for v in start), volume.voxel_nm or default_nm)
    if kind == LABELS:
        return layer
    contrast = _contrast(volume, kind, attributes)
    if kind == IMAGE:
        return dataclasses.replace(layer, contrast=contrast)
    names, colours = _channels(volume.shape[0], attributes)
    return dataclasses.replace(layer, contrast=contrast, channels=names, colours=colours)


def _guess_kind(volume: Volume, attributes: Mapping[str, Any]) -> str:
    if len(volume.shape) == 4:
        return AFFINITIES
    # Of what `segment` wrote, and of labels that `convert` wrote: nothing else has it.
    if "kind" in attributes:
        return LABELS
    whole = volume.dtype.kind in "ui" and volume.dtype.itemsize >= 4
    return LABELS if whole or volume.dtype.kind == "b" else IMAGE


def _contrast(volume: Volume, kind: str, attributes: Mapping[str, Any]) -> Contrast:
    """Returns the values that stand for 0 and 1 in a prediction by emjax; percentiles for any other volume."""
    if attributes.get("scale"):
        return Contrast(0.0, 1 / float(attributes["scale"]))
    contrast = measure_contrast(volume)
    if contrast.flat and kind == IMAGE and "kind" not in volume.address.keys:
        logging.warning(
            "%s is drawn as an image, but looks like labels; add ?kind=labels to its address if it is",
            volume.name,
        )
    return contrast


def _channels(count: int, attributes: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns the channels' names, and the channels drawn red, green, blue: nearest affinities along z, y, x."""
    names, offsets = attributes.get("targets", []), attributes.get("offsets", [])
    if len(names) != count or len(offsets) != count:
        return (), tuple(range(min(3, count)))
    steps = [None if offset is None else tuple(offset) for offset in offsets]
    shown = tuple(show_channels([n], [o]) for n, o in zip(names, steps, strict=True))
    near = [steps.index(step) for step in NEAREST if step in steps]
    return shown, tuple(near) if len(near) == 3 else tuple(range(min(3, count)))


def _short_name(volume: Volume, taken: set[str]) -> str:
    """Returns the last part of the path and the dataset, with a number if that name is taken."""
    address = volume.address
    name = address.path.rstrip("/").rpartition("/")[2] or address.path
    if address.path.startswith("synthetic://") and "labels" in address.keys:
        name += f" {address.keys['labels']}"
    name += f":{address.dataset}" if address.dataset else ""
    numbered = (f"{name} {number}" for number in range(2, len(taken) + 2))
    return name if name not in taken else next(n for n in numbered if n not in taken)
