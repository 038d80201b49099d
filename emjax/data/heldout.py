"""The part of each volume that is never trained on, so that features are judged on tissue they have not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from emjax.data.opening import OpenedEntry
from emjax.errors import InputError
from emjax.geometry.box import Box, Size


def hold_out(
    entries: Sequence[OpenedEntry], fraction: float, margin: Size, window: Size
) -> tuple[list[OpenedEntry], list[OpenedEntry]]:
    """Splits every volume along the axis that is longest in windows: the last part is held out.

    Args:
        entries: the volumes.
        fraction: share of the axis that is held out, in (0, 1); at least a window.
        margin: (z, y, x) voxels between the two parts that neither uses.
        window: (z, y, x) of what is cut.

    Returns:
        The volumes with the last part and the margin excluded, and the last parts as volumes of their own.

    Raises:
        InputError: if a volume cannot hold both parts.
    """
    if not 0 < fraction < 1:
        raise InputError(f"eval.held_out={fraction} must be between 0 and 1, or give eval.volumes")
    training, held_out = [], []
    for entry in entries:
        size = entry.image.size
        axis = max(range(3), key=lambda a: size[a] / window[a])
        length = max(window[axis], round(fraction * size[axis]))
        start = size[axis] - length
        if start - margin[axis] < window[axis]:
            raise InputError(
                f"{entry.image.name} is {size} voxels: too small for windows of {tuple(window)} in a training and a "
                "held-out part; give held-out volumes in eval.volumes, or make data.crop_size smaller"
            )
        first = [0, 0, 0]
        first[axis] = start
        last_part = Box.between(tuple(first), size)
        first[axis] = start - margin[axis]
        reserved = Box.between(tuple(first), size)
        training.append(dataclasses.replace(entry, excluded=(*entry.excluded, reserved)))
        moved = tuple(-s for s in last_part.start)
        inside = [box.intersect(last_part) for box in entry.excluded]
        held_out.append(
            dataclasses.replace(
                entry,
                image=entry.image.crop(last_part),
                labels=entry.labels.crop(last_part) if entry.labels else None,
                excluded=tuple(box.translate(moved) for box in inside if box is not None),
            )
        )
    return training, held_out
