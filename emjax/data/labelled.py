"""Checks that volumes have labels, and that these contain objects."""

from __future__ import annotations

import math
from collections.abc import Sequence

from absl import logging

from emjax.data.opening import OpenedEntry
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
        if entry.labels is None:
            raise InputError(f"{field}: {entry.image.name} has no labels; write image|labels")


def find_objects(entries: Sequence[OpenedEntry]) -> None:
    """Checks that the volumes hold labelled objects; reads each volume until one is found.

    Raises:
        InputError: if none of the volumes holds an object; for some of them it only warns.
    """
    empty = [entry for entry in entries if not _has_object(entry)]
    names = ", ".join(entry.labels.name for entry in empty if entry.labels)
    if len(empty) == len(entries):
        raise InputError(
            f"no labelled voxel to train on in {names}: all are background or ignored; check the labels, their boxes, "
            "and ?background= and ?ignore="
        )
    if empty:
        logging.warning("no labelled voxel in %s: crops of it teach background alone", names)


def _has_object(entry: OpenedEntry) -> bool:
    if entry.labels is None:
        return False
    size = entry.labels.size
    grid = Grid(Box((0, 0, 0), size), tuple(map(min, _BLOCK, size)))
    # Read blocks in an order that soon covers all parts of the volume, since labels often lie in the middle.
    step = next(s for s in range(7, 14) if math.gcd(s, len(grid)) == 1 or len(grid) < 7)
    for index in range(len(grid)):
        box = grid[index * step % len(grid)].core if len(grid) >= 7 else grid[index].core
        if entry.label_ids.objects(entry.labels.read(box)).any():
            return True
    return False
