"""The job `segment`: from a prediction to an instance segmentation."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from emjax.errors import InputError
from emjax.evaluation.figures import save_png
from emjax.evaluation.overlays import overlay, section_grid
from emjax.geometry.box import Box
from emjax.inference.blockwise import peak_rss_bytes
from emjax.segmentation.methods import choose_method, decode, find, suit_to_voxels
from emjax.segmentation.prediction import Prediction
from emjax.segmentation.settings import format_settings, parse_settings, read_settings
from emjax.train.run_folder import RESULTS_FILE, open_run_folder, write_results
from emjax.volume_config import validate_volume_config
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import check_free, create_volume, delete_volume, volume_exists
from emjax.volumes.store import Volume, open_volume

DECODING_FILE = "decoding.json"
SHOWN = 512


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Segments a prediction as configured, and writes the output volume and `results.json`.

    Args:
        config: as made by `configs/segment.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if the configuration, the prediction or the output cannot work.
    """
    validate_volume_config(config, ("input", "output"))
    _check_whole(config)
    volume, box = open_part(config.input, config.box)
    names, offsets = read_channels(config, volume)
    method, settings = read_method(config, names, offsets)
    settings = suit_to_voxels(method, settings, volume.voxel_nm)
    read_settings(find(method).settings, method, settings)
    check_free(config.output, config.overwrite)
    folder = open_run_folder(workdir, config)

    began = time.monotonic()
    logging.info("%s of %s: %s", method, config.input, format_settings(settings) or "as by default")
    prediction = read_prediction(volume, box, names, offsets)
    segmentation = decode(prediction, method, settings)
    seconds = time.monotonic() - began
    _write(config, volume, box, segmentation, method, settings)
    results = {
        "objects": int(np.count_nonzero(np.unique(segmentation))),
        "voxels": box.volume,
        "voxels_per_s": box.volume / seconds,
        "peak_rss_bytes": peak_rss_bytes(),
        "blocks_resumed": 0,
    }
    plots = Path(os.fspath(folder)) / "plots"
    plots.mkdir(exist_ok=True)
    save_png(plots / "sections.png", _draw(prediction, segmentation))
    write_results(folder, results)
    print(
        f"segmentation {config.output}: {results['objects']:,} objects by {method}, {box.volume:,} voxels, "
        f"{results['voxels_per_s'] / 1e6:.3g} Mvoxel/s\n"
        f"results      {Path(os.fspath(folder)) / RESULTS_FILE}\n"
        f"pictures     {plots / 'sections.png'}\n"
        f"next         python -m emjax.main --config configs/evaluate.py --config.segmentation={config.output} "
        "--config.labels=LABELS",
        flush=True,
    )
    return 0


def open_part(address: str, text: str) -> tuple[Volume, Box]:
    """Opens a volume and reads the box of it that is meant.

    Args:
        address: of the volume.
        text: `z0:z1,y0:y1,x0:x1` in its voxels; '': all.
    """
    volume = open_volume(address)
    whole = Box((0, 0, 0), volume.size)
    return volume, Box.from_text(text, volume.size) if text else whole


def read_channels(
    config: Mapping[str, Any], volume: Volume
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int] | None, ...]]:
    """Returns name and offset of each channel: as the command says, else as the volume remembers.

    Args:
        config: with `input` and `channels`.
        volume: the prediction.

    Raises:
        InputError: if neither says, or it says something that cannot be.
    """
    # A volume of one channel is opened without that axis.
    count = volume.shape[0] if len(volume.shape) == 4 else 1
    if config["channels"]:
        return _parse_channels(config["channels"])
    attributes = read_attributes(volume.address)
    if "targets" not in attributes:
        channels = f"{count} channels are" if count > 1 else "one channel is"
        raise InputError(
            f"{config['input']} does not say what its {channels}: it was not made by "
            "configs/predict.py; say it by --config.channels='affinity:-1/0/0,affinity:0/-1/0,affinity:0/0/-1'"
        )
    offsets = tuple(offset and tuple(offset) for offset in attributes["offsets"])
    return tuple(attributes["targets"]), offsets


def read_prediction(
    volume: Volume,
    box: Box,
    names: tuple[str, ...],
    offsets: tuple[tuple[int, int, int] | None, ...],
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
    config: Mapping[str, Any],
    names: tuple[str, ...],
    offsets: tuple[tuple[int, int, int] | None, ...],
) -> tuple[str, dict[str, Any]]:
    """Returns the method and its settings: as given, as a `tune` chose them, or as the channels suggest.

    Args:
        config: with `method` and `settings`.
        names: of the channels.
        offsets: of the channels.

    Raises:
        InputError: if a method or run folder is unknown, or the channels suit no method.
    """
    text = config["settings"]
    tuned = epath.Path(text) / DECODING_FILE if text and "=" not in text else None
    if tuned is None:
        return choose_method(config["method"], names, offsets), parse_settings(text)
    if not tuned.exists():
        raise InputError(
            f"settings={text}: no {DECODING_FILE} there; give NAME=VALUE&NAME=VALUE, or the run folder of a "
            "finished tune"
        )
    chosen = json.loads(tuned.read_text())
    if config["method"] not in ("", chosen["method"]):
        raise InputError(
            f"method='{config['method']}', but settings={text} were tuned for '{chosen['method']}'; leave method out"
        )
    return choose_method(chosen["method"], names, offsets), dict(chosen["settings"])


def _draw(prediction: Prediction, segmentation: np.ndarray) -> np.ndarray:
    """Draws a channel of the prediction beside the segmentation, three sections of at most 512 x 512 voxels."""
    # Of affinities one that joins neighbours within a section: membranes are dark.
    in_plane = [i for i, o in enumerate(prediction.offsets) if o is not None and o[0] == 0]
    index = in_plane[0] if in_plane else 0
    depth, height, width = prediction.shape
    y, x = (slice(max(0, n - SHOWN) // 2, max(0, n - SHOWN) // 2 + SHOWN) for n in (height, width))
    rows, chosen = [], sorted({round(q * (depth - 1)) for q in (0.15, 0.5, 0.85)})
    for z in chosen:
        stored = prediction.array[index, z, y, x]
        scale = 255 if stored.dtype == np.uint8 else 1
        grey = np.asarray(stored, np.float32) / scale
        rows.append([grey, overlay(grey, segmentation[z, y, x])])
    titles = (prediction.names[index], "segmentation")
    return section_grid(rows, titles, [f"z {z}" for z in chosen])


def _parse_channels(
    text: str,
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int] | None, ...]]:
    names, offsets = [], []
    for part in text.split(","):
        name, colon, offset = part.strip().partition(":")
        try:
            values = tuple(int(step) for step in offset.split("/")) if colon else None
        except ValueError:
            values = ()
        if not name or (values is not None and len(values) != 3):
            raise InputError(
                f"channels: '{part.strip()}' is neither NAME nor affinity:z/y/x, as in affinity:-1/0/0"
            )
        names.append(name)
        offsets.append(values)
    return tuple(names), tuple(offsets)


def _check_whole(config: ConfigDict) -> None:
    """Refuses what segmentation in one piece would not heed."""
    for name in ("block_size", "halo"):
        if len(config[name]):
            raise InputError(
                f"{name}={tuple(config[name])}: a volume is segmented in one piece; leave it out, or give a box"
            )


def _write(
    config: ConfigDict,
    volume: Volume,
    box: Box,
    segmentation: np.ndarray,
    method: str,
    settings: Mapping[str, Any],
) -> None:
    """Writes the output; what is there from before, or half written by an interrupted run, is replaced."""
    attributes = {
        "kind": "segmentation",
        "input": config.input,
        "method": method,
        "settings": dict(settings),
    }
    # Under another name first: nobody takes a half-written volume for a segmentation.
    partial = f"{config.output.rstrip('/')}.partial" if "://" not in config.output else ""
    if partial and volume_exists(partial):
        delete_volume(partial)
    store = create_volume(
        partial or config.output,
        segmentation.shape,
        np.uint64,
        volume.voxel_nm,
        attributes,
        overwrite=config.overwrite,
        origin=box.translate(volume.box.start).start,
    )
    store.write(segmentation).result()
    if partial:
        if volume_exists(config.output):
            delete_volume(config.output)
        Path(partial).rename(config.output)
