"""Chooses where crops are cut: in which volume, and where in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size


def entry_probabilities(
    groups: Sequence[str], weights: Sequence[float], probabilities: Sequence[float] = ()
) -> np.ndarray:
    """Returns the probability with which each volume is drawn.

    A group (data set) is drawn in proportion to the mean weight of its volumes, which is equally often without weights,
    so that a large group does not swamp a small one; within a group, volumes are drawn in proportion to their weights.

    Args:
        groups: group of each volume.
        weights: `weight=` of each volume; 1 if none was given.
        probabilities: probability of each group in order of appearance, summing to 1; empty: as above.

    Returns:
        `[volumes]` float64 summing to 1.

    Raises:
        InputError: if a weight is negative or all are 0; if the probabilities do not sum to 1, are not one for each
            group, or are above 0 for a group of weight 0.
    """
    names = list(dict.fromkeys(groups))
    given = np.asarray(weights, np.float64)
    if np.any(given < 0) or not np.any(given > 0):
        raise InputError(
            f"weights {given.tolist()}: none may be negative, and one must be positive"
        )
    shares = {name: given[[g == name for g in groups]] for name in names}
    if len(probabilities):
        if len(probabilities) != len(names):
            raise InputError(
                f"data.probabilities has {len(probabilities)} values for {len(names)} data sets: {', '.join(names)}"
            )
        if min(probabilities) < 0 or abs(sum(probabilities) - 1) > 1e-6:
            raise InputError(
                f"data.probabilities={tuple(probabilities)} must be 0 or more and sum to 1, not {sum(probabilities):g}"
            )
        of_group = dict(zip(names, probabilities, strict=True))
        empty = [name for name in names if of_group[name] > 0 and not shares[name].any()]
        if empty:
            raise InputError(
                f"data.probabilities gives {of_group[empty[0]]:g} to data set {empty[0]}, whose volumes all have "
                "weight=0; give it 0, or its volumes a weight"
            )
    else:
        total = sum(share.mean() for share in shares.values())
        of_group = {name: share.mean() / total for name, share in shares.items()}
    found = [
        of_group[group] * (weight / shares[group].sum() if shares[group].sum() else 0.0)
        for group, weight in zip(groups, weights, strict=True)
    ]
    return np.asarray(found)


class Origins:
    """Draws places uniformly from all where a window fits into a volume without overlapping an excluded box.

    Args:
        size: (z, y, x) voxels of the volume.
        window: (z, y, x) voxels of a window.
        excluded: boxes that no window may overlap.
        pad: 'reflect': a window larger than the volume starts at 0 and is filled up by mirroring; 'error': refuse it.
        name: name of the volume, for messages.

    Raises:
        InputError: if no window fits.
    """

    def __init__(
        self, size: Size, window: Size, excluded: Sequence[Box], *, pad: str, name: str
    ) -> None:
        room = [n - w + 1 for n, w in zip(size, window, strict=True)]
        if pad == "reflect":
            room = [max(r, 1) for r in room]
        if min(room) < 1:
            fits = tuple(min(n, w) for n, w in zip(size, window, strict=True))
            raise InputError(
                f"{name} is {tuple(size)} voxels, smaller than the {tuple(window)} that a crop and its margin need; "
                f"make augment.max_offset or data.crop_size smaller, at most {fits} together, or leave it out"
            )
        pieces = [Box((0, 0, 0), tuple(room))]
        for box in excluded:
            # Windows that start in this box overlap the excluded one.
            reach = tuple(s - w + 1 for s, w in zip(box.start, window, strict=True))
            touching = Box.between(reach, box.stop)
            pieces = [part for piece in pieces for part in without(piece, touching)]
        if not pieces:
            raise InputError(
                f"{name}: no window of {tuple(window)} voxels fits beside the excluded boxes "
                f"{', '.join(map(str, excluded))} of its {tuple(size)}; exclude less, or make data.crop_size smaller"
            )
        self._pieces = pieces
        volumes = np.cumsum([piece.volume for piece in pieces], dtype=np.float64)
        self._shares = volumes / volumes[-1]

    def draw(self, rng: np.random.Generator) -> Size:
        """Draws the first voxel (z, y, x) of a window."""
        index = int(np.searchsorted(self._shares, rng.random(), side="right"))
        piece = self._pieces[min(index, len(self._pieces) - 1)]
        return tuple(a + int(rng.integers(n)) for a, n in zip(piece.start, piece.size, strict=True))


def without(box: Box, hole: Box) -> list[Box]:
    """Returns disjoint boxes that cover a box except the hole."""
    common = box.intersect(hole)
    if common is None:
        return [box]
    parts, rest = [], box
    for axis in range(3):
        for start, stop in (
            (rest.start[axis], common.start[axis]),
            (common.stop[axis], rest.stop[axis]),
        ):
            if stop > start:
                first, last = list(rest.start), list(rest.stop)
                first[axis], last[axis] = start, stop
                parts.append(Box.between(tuple(first), tuple(last)))
        first, last = list(rest.start), list(rest.stop)
        first[axis], last[axis] = common.start[axis], common.stop[axis]
        rest = Box.between(tuple(first), tuple(last))
    return parts
