"""Checks that volumes have labels, and that these contain objects."""

from __future__ import annotations

import math
from collections.abc import Sequence

from absl import logging

from emjax.data.opening import Labels, OpenedEntry
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid

# (z, y, x) voxels of labels that are read at a time.
_BLOCK = (16, 512, 512)


def check_labelled(entries: Sequence[OpenedEntry], field: str) -> None:
    """Checks that every volume has labels.

    Args:
        entries: volumes to check.
        field: configuration field that names them, for the message.

    Raises:
        InputError: if a volume has no labels; names the first one.
    """
    for entry in entries:
        if not entry.all_labels:
            raise InputError(f"{field}: {entry.image.name} has no labels; write image|labels")


def check_images_alone(entries: Sequence[OpenedEntry], field: str) -> None:
    """Refuses masks and labels with names, for jobs that read images alone.

    Args:
        entries: volumes to check.
        field: configuration field that names them, for the message.

    Raises:
        InputError: if a volume has them; names the first one.
    """
    for entry in entries:
        if entry.mask or entry.named:
            raise InputError(
                f"{field}: {entry.image.name}: images alone are read here: leave out NAME=LABELS and mask=, and give "
                "parts that are not to be read in data.exclude"
            )


def check_names(
    entries: Sequence[OpenedEntry], names: Sequence[str], field: str, every: bool = True
) -> None:
    """Checks that the labels that targets read exist: each volume has some of them.

    Args:
        entries: the volumes.
        names: of labels that targets read; '' are those without a name.
        field: configuration field that names the volumes, for the message.
        every: whether there must be labels of each name in one volume at least.

    Raises:
        InputError: if no volume has labels of a name, or a volume has none of all these.
    """
    known = sorted({name for entry in entries for name in entry.all_labels})
    shown = ", ".join(f"of={name}" if name else "labels without a name" for name in known)
    for name in names if every else ():
        if name not in known:
            wanted = f"of={name}" if name else "labels without a name (give of=NAME)"
            raise InputError(f"targets read {wanted}, but {field} has {shown}")
    for entry in entries:
        if not set(names) & set(entry.all_labels):
            raise InputError(
                f"{field}: {entry.image.name} has none of the labels that targets read"
            )


def find_objects(entries: Sequence[OpenedEntry]) -> None:
    """Checks that the volumes hold labelled objects; reads each volume until one is found.

    Raises:
        InputError: if none of the volumes holds an object; for some of them it only warns.
    """
    empty = [entry for entry in entries if not _has_object(entry)]
    names = ", ".join(part.volume.name for e in empty for part in e.all_labels.values())
    if len(empty) == len(entries):
        raise InputError(
            f"no labelled voxel to train on in {names}: all are background or ignored; check the labels, their boxes, "
            "and ?background= and ?ignore="
        )
    if empty:
        logging.warning("no labelled voxel in %s: crops of it teach background alone", names)


def _has_object(entry: OpenedEntry) -> bool:
    return any(_holds_object(labels) for labels in entry.all_labels.values())


def _holds_object(labels: Labels) -> bool:
    size = labels.volume.size
    grid = Grid(Box((0, 0, 0), size), tuple(map(min, _BLOCK, size)))
    # Read blocks in an order that soon covers all parts of the volume, since labels often lie in the middle.
    step = next(s for s in range(7, 14) if math.gcd(s, len(grid)) == 1 or len(grid) < 7)
    for index in range(len(grid)):
        box = grid[index * step % len(grid)].core if len(grid) >= 7 else grid[index].core
        if labels.ids.objects(labels.volume.read(box)).any():
            return True
    return False
