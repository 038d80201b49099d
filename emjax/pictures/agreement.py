"""Where a segmentation agrees with the truth: colours that match between both, and a map of splits and mergers.

A segment and an object are partners if each is the one that the other shares most voxels with. Of the voxels of an
object

- those of its partner are right;
- those of a segment that has most of its voxels in this object, but is not its partner, are split off;
- those of a segment that has most of its voxels in another object are merged with that;
- those of no segment are missed.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

NOTHING, RIGHT, SPLIT, MERGED, MISSED = range(5)
# Red, green, blue of each kind; what is no object shows the image.
_COLOURS = np.asarray(
    [(0, 0, 0), (0.75, 0.75, 0.75), (0.25, 0.55, 1.0), (1.0, 0.3, 0.25), (1.0, 0.85, 0.1)],
    np.float32,
)
# Ids of segments without a partner are moved by this, so that they hardly ever have an object's colour.
_ELSEWHERE = np.uint64(0x5DEECE66D1234567)


class Pairs(Protocol):
    """How many voxels each pair of object and segment shares, as in `emjax.evaluation.contingency.Contingency`."""

    @property
    def labels(self) -> np.ndarray:
        """`[n]` uint64, ids of objects; 0 for background."""
        ...

    @property
    def segments(self) -> np.ndarray:
        """`[n]` uint64, ids of segments; 0 for none."""
        ...

    @property
    def counts(self) -> np.ndarray:
        """`[n]` numbers of voxels."""
        ...


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What belongs together in a truth and a segmentation.

    Attributes:
        objects: `[k]` uint64, ids of objects, sorted.
        segment_of: `[k]` uint64, segment that shares most voxels with each object; 0 if no segment shares any.
        segments: `[m]` uint64, ids of segments, sorted.
        object_of: `[m]` uint64, object that shares most voxels with each segment; 0 if no object shares any.
    """

    objects: np.ndarray
    segment_of: np.ndarray
    segments: np.ndarray
    object_of: np.ndarray

    @classmethod
    def of(cls, pairs: Pairs) -> Agreement:
        """Finds out from the voxels that objects and segments share.

        Args:
            pairs: of the whole volume, or of what is drawn.
        """
        keep = (pairs.labels > 0) & (pairs.segments > 0)
        labels, segments, counts = pairs.labels[keep], pairs.segments[keep], pairs.counts[keep]
        return cls(*_largest(labels, segments, counts), *_largest(segments, labels, counts))

    def colours(self, segments: np.ndarray) -> np.ndarray:
        """Returns ids by which segments are coloured: that of the partner, or for one without it another.

        Args:
            segments: `[...]` integers.

        Returns:
            `[...]` uint64; 0 stays 0.
        """
        ids = segments.astype(np.uint64)
        partner = _look_up(ids, self.segments, self.object_of)
        mutual = (partner > 0) & (_look_up(partner, self.objects, self.segment_of) == ids)
        return np.where(ids == 0, 0, np.where(mutual, partner, ids ^ _ELSEWHERE)).astype(np.uint64)

    def kinds(self, objects: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """Returns for each voxel whether it is right, split, merged, missed or no object.

        Args:
            objects: `[...]` integers, 0 for what is no object.
            segments: `[...]` integers, 0 for no segment.

        Returns:
            `[...]` uint8 of `NOTHING`, `RIGHT`, `SPLIT`, `MERGED`, `MISSED`.
        """
        true, found = objects.astype(np.uint64), segments.astype(np.uint64)
        own = _look_up(found, self.segments, self.object_of) == true
        partner = _look_up(true, self.objects, self.segment_of) == found
        kinds = np.where(own, np.where(partner, RIGHT, SPLIT), MERGED)
        kinds = np.where(found == 0, MISSED, kinds)
        return np.where(true == 0, NOTHING, kinds).astype(np.uint8)


def draw_kinds(image: np.ndarray | None, kinds: np.ndarray) -> np.ndarray:
    """Draws what `Agreement.kinds` returns.

    Args:
        image: `[y, x]` in [0, 1], shown where there is no object and faintly below the colours; None: black.
        kinds: `[y, x]`.

    Returns:
        `[y, x, 3]` float32 in [0, 1].
    """
    grey = np.zeros(kinds.shape, np.float32) if image is None else image
    below = np.repeat(np.asarray(grey, np.float32)[..., None], 3, axis=-1)
    drawn = _COLOURS[kinds] * (1.0 if image is None else 0.35 + 0.65 * below)
    return np.where((kinds == NOTHING)[..., None], 0.5 * below, drawn)


def _largest(
    keys: np.ndarray, others: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the keys, sorted and each once, and for each the other with the largest count, of equals the smallest."""
    order = np.lexsort((others, -counts.astype(np.int64), keys))
    unique, first = np.unique(keys[order], return_index=True)
    return unique.astype(np.uint64), others[order][first].astype(np.uint64)


def _look_up(ids: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the value of each id, 0 where it is not known."""
    if not len(known):
        return np.zeros(ids.shape, np.uint64)
    at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[at] == ids, values[at], np.uint64(0))
