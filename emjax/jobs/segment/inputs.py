"""What the jobs on predictions read: which part of a volume, what its channels are, how it is to be decoded."""

from __future__ import annotations

import json
from typing import Any

from etils import epath

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.segmentation.methods import choose_method
from emjax.segmentation.prediction import Offset, Prediction, parse_channels
from emjax.segmentation.settings import parse_settings
from emjax.volumes.attributes import read_attributes
from emjax.volumes.roles import refuse_idle_keys
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

DECODING_FILE = "decoding.json"


def open_part(address: str, text: str) -> tuple[Volume, Box]:
    """Opens a volume and reads the box of it that is meant.

    Args:
        address: of the volume.
        text: `z0:z1,y0:y1,x0:x1` in its voxels; '': all.

    Raises:
        InputError: if it cannot be opened, or its address has a key that means nothing for a prediction.
    """
    volume = open_volume(address)
    refuse_idle_keys(volume.address, "input")
    whole = Box((0, 0, 0), volume.size)
    return volume, Box.from_text(text, volume.size) if text else whole


def read_channels(
    address: str, channels: str, volume: Volume
) -> tuple[tuple[str, ...], tuple[Offset | None, ...]]:
    """Returns name and offset of each channel: as the command says, else as the volume remembers.

    Args:
        address: of the prediction, as it was given.
        channels: what the channels are, as the command says; '': as the volume remembers.
        volume: the prediction.

    Raises:
        InputError: if neither says, or it says something that cannot be.
    """
    # A volume of one channel is opened without that axis.
    count = volume.shape[0] if len(volume.shape) == 4 else 1
    if channels:
        return parse_channels(channels)
    attributes = read_attributes(volume.address)
    if "targets" not in attributes:
        those = f"{count} channels are" if count > 1 else "one channel is"
        raise InputError(
            f"{address} does not say what its {those}: it was not made by "
            "configs/predict.py; say it by --config.channels='affinity:-1/0/0,affinity:0/-1/0,affinity:0/0/-1'"
        )
    offsets = tuple(offset and tuple(offset) for offset in attributes["offsets"])
    return tuple(attributes["targets"]), offsets


def suggested_methods(volume: Volume) -> tuple[str, ...]:
    """Returns the methods of segmentation that the targets of a prediction name, as `configs/predict.py` wrote them."""
    return tuple(read_attributes(volume.address).get("methods", ()))


def read_prediction(
    volume: Volume,
    box: Box,
    names: tuple[str, ...],
    offsets: tuple[Offset | None, ...],
) -> Prediction:
    """Reads a part of a prediction.

    Args:
        volume: `[c, z, y, x]`, or `[z, y, x]` of one channel.
        box: the part, in its voxels.
        names: of the channels.
        offsets: of the channels.

    Raises:
        InputError: if names, offsets and channels are not as many, or it is no prediction.
    """
    array = volume.read(box)
    return Prediction(array if array.ndim == 4 else array[None], names, offsets)


def read_method(
    method: str,
    text: str,
    names: tuple[str, ...],
    offsets: tuple[Offset | None, ...],
    suggested: tuple[str, ...] = (),
) -> tuple[str, dict[str, Any]]:
    """Returns the method and its settings: as given, as a `tune` chose them, or as the channels suggest.

    Args:
        method: as given; '': what the settings were tuned for, or what the channels suggest.
        text: settings NAME=VALUE&NAME=VALUE, or the run folder of a `tune`.
        names: of the channels.
        offsets: of the channels.
        suggested: methods that the targets of the prediction name.

    Raises:
        InputError: if a method or run folder is unknown, or the channels suit no method.
    """
    tuned = epath.Path(text) / DECODING_FILE if text and "=" not in text else None
    if tuned is None:
        return choose_method(method, names, offsets, suggested), parse_settings(text)
    if not tuned.exists():
        raise InputError(
            f"settings={text}: no {DECODING_FILE} there; give NAME=VALUE&NAME=VALUE, or the run folder of a "
            "finished tune"
        )
    chosen = json.loads(tuned.read_text())
    if method not in ("", chosen["method"]):
        raise InputError(
            f"method='{method}', but settings={text} were tuned for '{chosen['method']}'; leave method out"
        )
    return choose_method(chosen["method"], names, offsets), dict(chosen["settings"])
