"""What `suggest` chooses from: images, candidates, what is labelled already, and the networks."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from emjax.annotation.candidates import Candidates
from emjax.annotation.uncertainty import groups
from emjax.blocks.complete import refuse_incomplete
from emjax.command_line import load_config
from emjax.data.leakage import in_voxels_of
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.jobs import find_job, run_job
from emjax.jobs.suggest.features import FeatureNetwork
from emjax.jobs.suggest.settings import Settings
from emjax.runs.exit_status import DONE
from emjax.tasks.build import build_segment
from emjax.tasks.segment import Segment
from emjax.train.weights import Weights, restore_params
from emjax.volumes.address import parse_volumes
from emjax.volumes.attributes import read_attributes
from emjax.volumes.roles import IMAGE_KEYS, refuse_idle_keys
from emjax.volumes.slow import say_if_slow
from emjax.volumes.store import open_for_blocks, open_volume
from emjax.volumes.volume import Volume

# Name, below the work folder, of the prediction that the job has made.
PREDICTION = "prediction"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What is opened and checked before anything is computed.

    Attributes:
        volume: the images.
        candidates: boxes of them.
        labelled: `[n]` bool, candidates of which labels exist.
        weights: of the finetuned network; None where only its prediction is given.
        task: what that network learnt; None likewise.
        network: that describes tissue.
        described_by: weights of it.
    """

    volume: Volume
    candidates: Candidates
    labelled: np.ndarray
    weights: Weights | None
    task: Segment | None
    network: FeatureNetwork
    described_by: Weights


def open_inputs(settings: Settings) -> Inputs:
    """Opens and checks all that is read, but for the prediction.

    Args:
        settings: that name it.

    Raises:
        InputError: if something cannot work.
    """
    volume = open_for_blocks(settings.input)
    refuse_idle_keys(volume.address, "input", IMAGE_KEYS)
    refuse_incomplete(settings.input, "input", settings.shared.allow_incomplete)
    say_if_slow(volume, parts="boxes")
    weights = restore_params(settings.checkpoint) if settings.checkpoint else None
    task = build_segment(weights.spec.config) if weights else None
    if task is not None:
        groups(task.names)
    described_by = restore_params(settings.features) if settings.features else weights
    assert described_by is not None
    name = settings.features or settings.checkpoint
    network = FeatureNetwork(described_by, name, volume)
    whole = Box((0, 0, 0), volume.size)
    outer = Box.from_text(settings.shared.box, volume.size) if settings.shared.box else whole
    fitting = tuple(map(min, network.stored_window, outer.size))
    candidates = Candidates.covering(outer, settings.size or fitting, "size")
    boxes = _labelled_boxes(settings, weights, volume)
    labelled = [any(box.overlaps(block.core) for box in boxes) for block in candidates.grid]
    return Inputs(
        volume, candidates, np.asarray(labelled, bool), weights, task, network, described_by
    )


def make_prediction(
    settings: Settings, workdir: str | os.PathLike[str], overwrite: bool
) -> tuple[str, int]:
    """Has the job `predict` predict the images below the work folder, unless a prediction is given.

    Args:
        settings: of the job.
        workdir: folder of the run.
        overwrite: whether a prediction that is finished is made anew.

    Returns:
        Address of the prediction; and the exit status, not 0 where it was interrupted.

    Raises:
        InputError: as raised by `predict`.
    """
    if settings.prediction:
        return settings.prediction, DONE
    folder = f"{os.fspath(workdir).rstrip('/')}/{PREDICTION}"
    config = load_config("configs/predict.py")
    config.checkpoint, config.input = settings.checkpoint, settings.input
    config.output, config.box = f"{folder}.zarr", settings.shared.box
    config.num_workers = settings.shared.num_workers
    config.allow_incomplete, config.overwrite = settings.shared.allow_incomplete, overwrite
    return config.output, run_job(find_job(config.job), config, folder)


def open_prediction(address: str, allow_incomplete: bool) -> tuple[Volume, tuple[str, ...]]:
    """Opens a prediction.

    Args:
        address: of it.
        allow_incomplete: whether one that emjax has not finished is read.

    Returns:
        The prediction, and the names of its channels.

    Raises:
        InputError: if it is none, or has no channel that is a probability.
    """
    volume = open_for_blocks(address)
    refuse_idle_keys(volume.address, "prediction")
    refuse_incomplete(address, "prediction", allow_incomplete)
    names = read_attributes(volume.address).get("targets")
    if not isinstance(names, Sequence) or len(volume.shape) != 4:
        raise InputError(
            f"prediction {address} was not made by configs/predict.py: it does not name its channels; leave it out, "
            "and it is made here"
        )
    channels = tuple(map(str, names))
    groups(channels)
    return volume, channels


def trained_boxes(weights: Weights, volume: Volume) -> Iterator[Box]:
    """Yields the boxes of a volume that a network had labels of, held-out ones included, in voxels of the volume.

    What it was trained on may be on another machine, or gone: that is logged.
    """
    for entry in parse_volumes(weights.spec.config["data"]["volumes"]):
        try:
            box = _shared(volume, open_volume(entry.image))
        except (InputError, OSError) as error:
            logging.warning(
                "the network was trained on %s, which cannot be read: if that is part of %s, give --config.labelled "
                "(%s)",
                entry.image,
                volume.name,
                error,
            )
            continue
        if box is not None:
            yield box


def _shared(volume: Volume, other: Volume) -> Box | None:
    """Returns what two volumes share, in voxels of the first; None if they are different tissue."""
    seen = in_voxels_of(volume, other)
    inside = seen.intersect(volume.box) if seen is not None else None
    return inside.translate(tuple(-s for s in volume.box.start)) if inside is not None else None


def _labelled_boxes(settings: Settings, weights: Weights | None, volume: Volume) -> list[Box]:
    """Returns the boxes that are labelled already, in voxels of the volume."""
    if not settings.labelled:
        found = list(trained_boxes(weights, volume)) if weights else []
    else:
        found = []
        for entry in parse_volumes(settings.labelled):
            box = _shared(volume, open_volume(entry.image))
            if box is None:
                raise InputError(
                    f"labelled: {entry.image} is no part of input {volume.name}; write its path as there"
                )
            found.append(box)
    for box in found:
        logging.info("labelled already: %s of %s", box, volume.name)
    return found
