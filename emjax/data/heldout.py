"""Splits off the part of each volume that is never trained on, and limits the labelled sections that are used."""

from __future__ import annotations

from collections.abc import Sequence

from emjax.data.opening import OpenedEntry
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size

_AXES = ("z", "y", "x")
# Least length of a part along the split axis, voxels, where the rest of a window may be its mirror image.
MIN_MIRRORED = 2


def hold_out(
    entries: Sequence[OpenedEntry],
    fraction: float,
    margin: Size,
    window: Size,
    axis_name: str = "",
    pad: str = "error",
) -> tuple[list[OpenedEntry], list[OpenedEntry]]:
    """Splits every volume along one axis: the last part is held out.

    Args:
        entries: the volumes.
        fraction: share of the axis that is held out, in (0, 1); at least a window.
        margin: (z, y, x) voxels between the two parts that neither part uses.
        window: (z, y, x) voxels of a window.
        axis_name: 'z', 'y' or 'x'; '': the axis along which most windows fit.
        pad: 'reflect': parts may be smaller than a window; 'error': they may not.

    Returns:
        The training parts, without the margin, and the held-out parts, as volumes of their own.

    Raises:
        InputError: if a volume cannot hold both parts, or there is no such axis.
    """
    if axis_name not in ("", *_AXES):
        raise InputError(
            f"eval.held_out_axis='{axis_name}' must be z, y or x, or empty for the longest axis"
        )
    if not 0 < fraction < 1:
        raise InputError(f"eval.held_out={fraction} must be between 0 and 1, or give eval.volumes")
    training, held_out = [], []
    for entry in entries:
        size = entry.image.size
        axis = max(range(3), key=lambda a: size[a] / window[a])
        if axis_name:
            axis = _AXES.index(axis_name)
        # With mirroring, a part may be shorter than a window, but must hold a few voxels of its own.
        least = window[axis] if pad == "error" else min(window[axis], MIN_MIRRORED)
        length = max(least, round(fraction * size[axis]))
        start = size[axis] - length
        if start - margin[axis] < least:
            raise InputError(
                f"{entry.image.name} is {size} voxels: too small for windows of {tuple(window)} in a training and a "
                "held-out part; give held-out volumes in eval.volumes, or make data.crop_size smaller"
            )
        first, stop = [0, 0, 0], list(size)
        first[axis], stop[axis] = start, start - margin[axis]
        training.append(entry.crop(Box.between((0, 0, 0), tuple(stop))))
        held_out.append(entry.crop(Box.between(tuple(first), size)))
    return training, held_out


def limit_labels(
    entries: Sequence[OpenedEntry], fraction: float, sections: int
) -> list[OpenedEntry]:
    """Keeps only the first sections of each volume, as if no more had been labelled.

    Args:
        entries: the training volumes, without the held-out parts.
        fraction: share of each volume's sections, in (0, 1].
        sections: number of sections of each volume to keep; 0: no limit.

    Returns:
        The first sections, as volumes of their own.

    Raises:
        InputError: if a volume has fewer sections than asked for.

    Source: the regimes of 25, 50 and 100 labelled sections of arXiv:2308.09917, which take the first ones.
    """
    limited = []
    for entry in entries:
        depth, height, width = entry.image.size
        if sections > depth:
            raise InputError(
                f"data.label_sections={sections}: {entry.image.name} has {depth} sections to train on; ask for fewer"
            )
        kept = sections or depth
        kept = min(kept, max(1, round(fraction * depth)))
        limited.append(entry.crop(Box((0, 0, 0), (kept, height, width))))
    return limited
