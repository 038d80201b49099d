"""Opens the volumes of `data.volumes` for sampling; finds every mistake in them here, before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from emjax.blocks.complete import refuse_incomplete
from emjax.data.normalization import Normalization, measure
from emjax.data.overlaps import known_overlaps
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.address import MASK, SYNTHETIC, Address, Entry, parse_volumes
from emjax.volumes.label_ids import NONE_NAMED, LabelIds
from emjax.volumes.pairs import lay
from emjax.volumes.roles import LABEL_KEYS, TRAINING_IMAGE_KEYS, check_ids, refuse_idle_keys
from emjax.volumes.slow import say_if_slow
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

_MASK_TITLE = "its mask"


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of an image, of its size, and what their ids mean."""

    volume: Volume
    ids: LabelIds = NONE_NAMED


@dataclasses.dataclass(frozen=True)
class OpenedEntry:
    """A volume to sample from.

    Attributes:
        image: volume `[z, y, x]`.
        labels: volume of labels of the same size, those without a name; or None.
        normalization: normalization of the image.
        group: name of the group (data set) that it belongs to.
        weight: weight within its group.
        excluded: boxes, in voxels of `image`, that are never read.
        label_ids: what the ids of `labels` mean.
        named: name -> further labels of the same size.
        mask: volume of the same size that is 0 where no labels are known; or None.
    """

    image: Volume
    labels: Volume | None
    normalization: Normalization
    group: str
    weight: float
    excluded: tuple[Box, ...] = ()
    label_ids: LabelIds = NONE_NAMED
    named: Mapping[str, Labels] = dataclasses.field(default_factory=dict)
    mask: Volume | None = None

    @property
    def all_labels(self) -> dict[str, Labels]:
        """Name -> labels; those without a name have ''."""
        own = {"": Labels(self.labels, self.label_ids)} if self.labels else {}
        return {**own, **self.named}

    @property
    def any_labels(self) -> Volume | None:
        """A volume of its labels, the first; None without any."""
        return next((labels.volume for labels in self.all_labels.values()), None)

    def crop(self, box: Box) -> OpenedEntry:
        """Returns a part, in voxels of the image; the normalization stays that of the whole."""
        moved = tuple(-s for s in box.start)
        inside = [excluded.intersect(box) for excluded in self.excluded]
        return dataclasses.replace(
            self,
            image=self.image.crop(box),
            labels=self.labels.crop(box) if self.labels else None,
            named={
                name: dataclasses.replace(labels, volume=labels.volume.crop(box))
                for name, labels in self.named.items()
            },
            mask=self.mask.crop(box) if self.mask else None,
            excluded=tuple(hole.translate(moved) for hole in inside if hole is not None),
        )


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
        say_if_slow(entry.image, *(labels.volume for labels in entry.all_labels.values()))
    return opened


def _open(entry: Entry, holes: Sequence[Address], used: set[int]) -> OpenedEntry:
    refuse_idle_keys(entry.image, "image", TRAINING_IMAGE_KEYS)
    addresses = {_title(name): address for name, address in entry.all_labels.items()}
    for what, address in addresses.items():
        refuse_idle_keys(address, what, LABEL_KEYS)
    if entry.mask:
        refuse_idle_keys(entry.mask, MASK)
        addresses[_MASK_TITLE] = entry.mask
    volumes = {"image": open_volume(entry.image)}
    volumes |= {what: open_volume(address) for what, address in addresses.items()}
    for address in (entry.image, *addresses.values()):
        refuse_incomplete(address, "training volume", hint=False)
    for what, volume in volumes.items():
        if what != "image":
            _check_labels(what, volume)
    if len(volumes) > 1:
        laid = lay(volumes)
        laid.log()
        volumes = laid.volumes
        for what in addresses:
            if what != _MASK_TITLE:
                check_ids(volumes[what], "labels")
    image = volumes["image"]
    opened = {
        name: Labels(volumes[_title(name)], LabelIds.of(address))
        for name, address in entry.all_labels.items()
    }
    labels, mask = opened.pop("", None), volumes.get(_MASK_TITLE)
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
    return OpenedEntry(
        image,
        labels.volume if labels else None,
        measure(image),
        group,
        number,
        tuple(excluded),
        labels.ids if labels else LabelIds(),
        opened,
        mask,
    )


def _title(name: str) -> str:
    """Returns what labels are called in messages."""
    return f"labels '{name}'" if name else "its labels"


def _check_labels(what: str, volume: Volume) -> None:
    """Refuses what cannot be labels, or a mask, by its axes and type."""
    if len(volume.shape) != 3:
        raise InputError(f"labels {volume.name} have axes {volume.shape}; labels need z, y, x")
    if volume.dtype.kind not in "uib":
        exact = {"float64": 53, "float32": 24}.get(volume.dtype.name, 11)
        raise InputError(
            f"labels {volume.name} are {volume.dtype}; labels are integers, and this type loses ids above "
            f"2^{exact}: write them as uint64"
            if what != _MASK_TITLE
            else f"the mask {volume.name} is {volume.dtype}; a mask is of integers or bool"
        )


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
