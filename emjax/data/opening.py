"""Opens the volumes of `data.volumes` for sampling; finds every mistake in them here, before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from absl import logging

from emjax.blocks.complete import refuse_incomplete
from emjax.data.normalization import Normalization, measure
from emjax.data.overlaps import known_overlaps
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.address import SYNTHETIC, Address, Entry, parse_volumes
from emjax.volumes.label_ids import NONE_NAMED, LabelIds
from emjax.volumes.pairs import lay
from emjax.volumes.roles import LABEL_KEYS, TRAINING_IMAGE_KEYS, check_ids, refuse_idle_keys
from emjax.volumes.slow import say_if_slow
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume


@dataclasses.dataclass(frozen=True)
class OpenedEntry:
    """A volume to sample from.

    Attributes:
        image: volume `[z, y, x]`.
        labels: volume of labels of the same size, or None.
        normalization: normalization of the image.
        group: name of the group (data set) that it belongs to.
        weight: weight within its group.
        excluded: boxes, in voxels of `image`, that are never read.
        label_ids: what the ids of `labels` mean.
    """

    image: Volume
    labels: Volume | None
    normalization: Normalization
    group: str
    weight: float
    excluded: tuple[Box, ...] = ()
    label_ids: LabelIds = NONE_NAMED


def open_entries(volumes: str | Sequence[str], *, exclude: str = "") -> list[OpenedEntry]:
    """Opens and checks volumes.

    Args:
        volumes: addresses as in `data.volumes`.
        exclude: addresses with boxes, as in `data.exclude`; volumes of the same source are never read there.

    Raises:
        InputError: if a volume cannot be opened or used; names the volume.
    """
    entries = parse_volumes(volumes)
    if not entries:
        raise InputError(
            "data.volumes names no volume; give PATH[:DATASET][BOX], entries separated by ';'"
        )
    holes = [entry.image for entry in parse_volumes(exclude)]
    used: set[int] = set()
    opened = []
    for entry in entries:
        opened.append(_open(entry, holes, used))
        for note in known_overlaps(str(entry.image)):
            logging.warning("%s: %s", opened[-1].image.name, note)
    for index, hole in enumerate(holes):
        if index not in used:
            raise InputError(
                f"data.exclude: {hole} is no part of any volume in data.volumes; write its path as there"
            )
    for entry in opened:
        say_if_slow(entry.image, entry.labels)
    return opened


def _open(entry: Entry, holes: Sequence[Address], used: set[int]) -> OpenedEntry:
    refuse_idle_keys(entry.image, "image", TRAINING_IMAGE_KEYS)
    if entry.labels:
        refuse_idle_keys(entry.labels, "labels", LABEL_KEYS)
    image = open_volume(entry.image)
    labels = open_volume(entry.labels) if entry.labels else None
    for address in filter(None, (entry.image, entry.labels)):
        refuse_incomplete(address, "training volume", hint=False)
    if labels is not None:
        if len(labels.shape) != 3:
            raise InputError(f"labels {labels.name} have axes {labels.shape}; labels need z, y, x")
        if labels.dtype.kind not in "uib":
            exact = {"float64": 53, "float32": 24}.get(labels.dtype.name, 11)
            raise InputError(
                f"labels {labels.name} are {labels.dtype}; labels are integers, and this type loses ids above "
                f"2^{exact}: write them as uint64"
            )
        laid = lay({"image": image, "its labels": labels})
        laid.log()
        image, labels = laid.volumes["image"], laid.volumes["its labels"]
        check_ids(labels, "labels")
    weight = entry.image.keys.get("weight", "1")
    try:
        number = float(weight)
    except ValueError:
        number = -1.0
    if not (np.isfinite(number) and number >= 0):
        raise InputError(f"{entry.image}: weight={weight} is not a number of 0 or more")
    excluded = []
    _refuse_other_spelling(entry.image, holes)
    for index, hole in enumerate(holes):
        if hole.source != entry.image.source:
            continue
        used.add(index)
        box = open_volume(hole).box.intersect(image.box)
        if box is not None:
            excluded.append(box.translate(tuple(-s for s in image.box.start)))
    group = entry.image.keys.get("group", str(entry.image))
    label_ids = LabelIds.of(entry.labels) if entry.labels else LabelIds()
    return OpenedEntry(image, labels, measure(image), group, number, tuple(excluded), label_ids)


def _refuse_other_spelling(image: Address, holes: Sequence[Address]) -> None:
    """Refuses exclusions that mean voxels of an image, but do not match it: another level, channel, or no dataset.

    If they match another entry, the user would otherwise not notice that this entry is read there nevertheless.
    """
    if image.path.startswith(SYNTHETIC):
        return

    def file(address: Address) -> str:
        return Address(address.path).source

    same_file = [hole for hole in holes if file(hole) == file(image)]
    if any(hole.source == image.source for hole in same_file):
        return
    for hole in same_file:
        if hole.dataset == image.dataset or not (hole.dataset and image.dataset):
            raise InputError(
                f"data.exclude: {hole} may mean voxels of {image}, but is written differently; give both the same "
                "dataset, level and channel"
            )
