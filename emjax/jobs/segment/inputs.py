"""What the jobs on predictions read: which part of a volume, what its channels are, how it is to be decoded."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NamedTuple

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.runs.folder import locate_run_folder
from emjax.segmentation.methods import choose_method
from emjax.segmentation.methods.classes import classes_of
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


class Chosen(NamedTuple):
    """Channels of a prediction that are decoded together.

    Attributes:
        names: of the channels, without the name of their group.
        offsets: of the channels, None for a channel that is no affinity.
        indices: number of each channel in the prediction; None: these are all.
    """

    names: tuple[str, ...]
    offsets: tuple[Offset | None, ...]
    indices: tuple[int, ...] | None


def choose_channels(address: str, channels: str, volume: Volume, *, of: str, method: str) -> Chosen:
    """Returns the channels of a prediction that are decoded: all, or those of one group, as in `mito.foreground`.

    Args:
        address: of the prediction, as it was given.
        channels: what the channels are, as the command says; '': as the volume remembers.
        volume: the prediction.
        of: name of the group; '': there is only one, or they are mapped to classes together.
        method: as the command says.

    Raises:
        InputError: if nothing says what the channels are, there is no such group, or several and none is named.
    """
    names, offsets = _read_channels(address, channels, volume)
    groups = tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))
    if of and of not in groups:
        known = ", ".join(filter(None, groups))
        said = f"it has {known}" if known else "its channels are of no group; leave it out"
        raise InputError(f"of={of}: {address} has no channels of that name; {said}")
    if len(groups) == 1:
        return Chosen(tuple(name.rpartition(".")[2] for name in names), offsets, None)
    if of:
        kept = tuple(i for i, name in enumerate(names) if name.rpartition(".")[0] == of)
        bare = tuple(names[i].rpartition(".")[2] for i in kept)
        return Chosen(bare, tuple(offsets[i] for i in kept), kept)
    classes = set(classes_of(names).values())
    if method == "classes" or (not method and classes == set(names)):
        kept = tuple(i for i, name in enumerate(names) if name in classes)
        if kept:
            return Chosen(tuple(names[i] for i in kept), tuple(offsets[i] for i in kept), kept)
    raise InputError(
        f"{address} has channels of {', '.join(group or 'no name' for group in groups)}: give "
        f"--config.of={next(filter(None, groups))} for the objects of one; method=classes maps foregrounds together"
    )


def _read_channels(
    address: str, channels: str, volume: Volume
) -> tuple[tuple[str, ...], tuple[Offset | None, ...]]:
    """Returns name and offset of each channel: as the command says, else as the volume remembers."""
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


def read_prediction(volume: Volume, box: Box, chosen: Chosen) -> Prediction:
    """Reads a part of a prediction.

    Args:
        volume: `[c, z, y, x]`, or `[z, y, x]` of one channel.
        box: the part, in its voxels.
        chosen: its channels that are decoded.

    Raises:
        InputError: if names, offsets and channels are not as many, or it is no prediction.
    """
    if chosen.indices is not None:
        volume = dataclasses.replace(volume, store=volume.store[list(chosen.indices)])
    array = volume.read(box)
    array = array if array.ndim == 4 else array[None]
    return Prediction(array, chosen.names, chosen.offsets, box.start)


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
    tuned = locate_run_folder(text) / DECODING_FILE if text and "=" not in text else None
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
