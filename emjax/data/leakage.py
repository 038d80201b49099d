"""Checks that scores do not come from voxels that a network was trained on, however their address is written.

Two addresses name the same tissue if they name one array of one file on this machine (symbolic links, relative paths
and links of HDF5 are followed) or levels of one pyramid; two stacks of sections do if they share a file. Copies in
other files look like other tissue and are not found.
"""

from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from emjax.data.opening import OpenedEntry
from emjax.data.sampling import without
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size
from emjax.volumes.address import SYNTHETIC, Address, local_path
from emjax.volumes.read.hdf5 import dataset_identity
from emjax.volumes.read.numbering import natural_order, with_gaps
from emjax.volumes.volume import Volume

# Names of the levels of a pyramid: 0, 1 (OME-Zarr), s0, s1 (N5), scale0, mag4, 8_8_8, 16x16x40.
_LEVEL = re.compile(r"(s|scale|level|mag)?\d+([-_x]\d+)*")


class Scored(NamedTuple):
    """A volume that scores come from: an image, and its labels if it has any."""

    image: Volume
    labels: Volume | None = None


def check_apart(
    training: Sequence[OpenedEntry],
    scored: Mapping[str, Sequence[Scored]],
    halo: Size,
    *,
    allow: bool,
) -> None:
    """Checks that no voxels that scores come from are trained on; warns where the two are close.

    Args:
        training: the volumes that are trained on, except in the boxes that they exclude.
        scored: configuration field -> volumes that scores come from. Volumes of one field may overlap each other,
            those of different fields may not.
        halo: (z, y, x) voxels that the network sees on each side.
        allow: whether overlaps are allowed and only cause a warning.

    Raises:
        InputError: if volumes overlap; names both, and the voxels that they share.
    """
    known = [
        _Known("data.volumes", Scored(e.image, e.any_labels), tuple(e.excluded)) for e in training
    ]
    for field, parts in scored.items():
        for part in parts:
            for other in known:
                common = _common(other, part)
                if common is not None:
                    _answer(field, part, other, common, allow)
                elif other.field == "data.volumes":
                    _say_if_close(field, part, other, halo)
        known += [_Known(field, part) for part in parts]


class _Known(NamedTuple):
    """A volume that a configuration field names, and its boxes that are never read, in voxels of the image."""

    field: str
    part: Scored
    excluded: tuple[Box, ...] = ()


def _common(known: _Known, part: Scored) -> Box | None:
    """Returns a box of voxels that both show, in voxels of `known`'s file; None if there are none."""
    for one, other in zip(known.part, part, strict=True):
        if one is None or other is None:
            continue
        seen = in_voxels_of(one, other)
        common = seen.intersect(one.box) if seen is not None else None
        if common is None:
            continue
        pieces = [common]
        for hole in known.excluded:
            outside = hole.translate(one.box.start)
            pieces = [rest for piece in pieces for rest in without(piece, outside)]
        if pieces:
            return pieces[0]
    return None


def _answer(field: str, part: Scored, known: _Known, common: Box, allow: bool) -> None:
    other = f"{known.field}, {known.part.image.name}"
    message = f"{field}: {part.image.name} overlaps {other}, at the voxels {common} of it"
    if allow:
        logging.warning("%s: its scores are not those of unseen tissue", message)
        return
    raise InputError(
        f"{message}: scores must come from tissue that was not trained on; give boxes that lie apart, leave them out "
        "of training by data.exclude, or accept it by data.allow_overlap=true"
    )


def _say_if_close(field: str, part: Scored, known: _Known, halo: Size) -> None:
    seen = in_voxels_of(known.part.image, part.image)
    if seen is not None and known.part.image.box.grow(halo).overlaps(seen):
        logging.warning(
            "%s: between %s and %s, which is trained on, lie fewer voxels than the %s that the network sees to each "
            "side: tissue so close is easier than tissue elsewhere",
            field,
            part.image.name,
            known.part.image.name,
            halo,
        )


class _Place(NamedTuple):
    """The place of an array: its file (or ''), and the names of folders and groups down to it."""

    root: str
    inner: tuple[str, ...]


def in_voxels_of(volume: Volume, other: Volume) -> Box | None:
    """Returns the box of `other` in voxels of the file of `volume`; None if it is other tissue."""
    one, two = volume.address, other.address
    if one.path.startswith(SYNTHETIC) or two.path.startswith(SYNTHETIC):
        return other.box if one.source == two.source else None
    first, second = _place(one), _place(two)
    level = one.keys.get("level", "0") == two.keys.get("level", "0")
    if level and (first == second or _is_one_dataset(one, two)):
        return other.box
    if _of_one_pyramid(first, second):
        return _scaled(volume, other)
    shift = _section_shift(_sections(one.path), _sections(two.path))
    return other.box.translate((shift, 0, 0)) if shift is not None else None


def _place(address: Address) -> _Place:
    """Returns the place of an array, the same for every way to write it."""
    if "://" in address.path:
        return _Place("", (*address.path.split("/"), *filter(None, address.dataset.split("/"))))
    path = local_path(address.path)
    inside = path / address.dataset
    if path.is_file():
        status = path.stat()
        # By device and inode, so that two names (hard links) of one file are the same place.
        return _Place(
            f"{status.st_dev}:{status.st_ino}", tuple(filter(None, address.dataset.split("/")))
        )
    return _Place("", Path(os.path.realpath(inside)).parts)


def _is_one_dataset(one: Address, other: Address) -> bool:
    """Whether two addresses name one dataset of HDF5, whatever kinds of links they go through."""
    if "://" in one.path or "://" in other.path:
        return False
    first, second = (dataset_identity(local_path(a.path), a.dataset) for a in (one, other))
    return first is not None and first == second


def _of_one_pyramid(first: _Place, second: _Place) -> bool:
    """Whether two places are one array or levels of one pyramid; a file without a dataset may be any array in it."""
    if first.root != second.root:
        return False
    short, long = sorted((first.inner, second.inner), key=len)
    if long[: len(short)] == short:
        return True
    levels = bool(_LEVEL.fullmatch(short[-1]) and _LEVEL.fullmatch(long[-1]))
    return len(short) == len(long) and short[:-1] == long[:-1] and levels


def _scaled(volume: Volume, other: Volume) -> Box:
    """Returns the box of `other` in voxels of `volume`, which may be another level of the same pyramid."""
    if volume.voxel_nm is None or other.voxel_nm is None:
        # Without voxel sizes the overlap is unknown: assume the whole volume.
        return volume.box
    ratio = np.divide(other.voxel_nm, volume.voxel_nm)
    start = np.floor(np.multiply(other.box.start, ratio) + 1e-6).astype(int)
    stop = np.ceil(np.multiply(other.box.stop, ratio) - 1e-6).astype(int)
    return Box.between(tuple(start.tolist()), tuple(np.maximum(stop, start + 1).tolist()))


@functools.lru_cache(maxsize=64)
def _sections(path: str) -> tuple[str, ...]:
    """Returns the files of a stack of sections, '' for missing numbers; empty if the path is no stack."""
    if "://" in path:
        return ()
    pattern = str(local_path(path))
    if os.path.isdir(pattern):
        pattern = f"{glob.escape(pattern)}/*.*"
    if not glob.has_magic(pattern):
        return ()
    ordered = with_gaps(natural_order(glob.glob(pattern)))
    return tuple(os.path.realpath(name) if there else "" for name, there in ordered)


def _section_shift(first: Sequence[str], second: Sequence[str]) -> int | None:
    """Returns what to add to section numbers of the second stack to get those of the first; None without a match."""
    numbers = {name: number for number, name in enumerate(first) if name}
    return next(
        (numbers[name] - number for number, name in enumerate(second) if name in numbers), None
    )
