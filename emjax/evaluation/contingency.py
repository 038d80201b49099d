"""The contingency table: how many voxels each pair of true object and segment shares, from which scores are computed.

Tables of parts of a volume add up to the table of the whole, so that a volume larger than memory can be scored block by
block, and the scores do not depend on the blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from emjax.errors import InputError
from emjax.volumes.label_ids import NONE_NAMED, LabelIds


@dataclasses.dataclass(frozen=True)
class Contingency:
    """Sparse contingency table; pairs are unique and sorted.

    Attributes:
        labels: `[n]` uint64, id of the true object; 0 for background.
        segments: `[n]` uint64, id of the segment; 0 for no segment.
        counts: `[n]` int64, number of voxels that have both.
    """

    labels: np.ndarray
    segments: np.ndarray
    counts: np.ndarray

    @classmethod
    def from_arrays(
        cls,
        labels: np.ndarray,
        segmentation: np.ndarray,
        *,
        label_ids: LabelIds = NONE_NAMED,
        segment_ids: LabelIds = NONE_NAMED,
        mask: np.ndarray | None = None,
    ) -> Contingency:
        """Counts the pairs of ids in two arrays.

        Args:
            labels: `[z, y, x]` integers, the truth.
            segmentation: `[z, y, x]` integers of the same shape.
            label_ids: meaning of the labels' ids: ignored voxels are not counted, background becomes 0.
            segment_ids: meaning of the segmentation's ids: ids that are no segment become 0.
            mask: `[z, y, x]` bool; only voxels where it is True are counted.

        Raises:
            InputError: if the shapes differ, an array is not of integers, or the segmentation has a negative id.
        """
        if labels.shape != segmentation.shape:
            raise InputError(
                f"labels are {labels.shape} voxels, the segmentation is {segmentation.shape}; they must be equal"
            )
        for name, array in (("labels", labels), ("the segmentation", segmentation)):
            if array.dtype.kind not in "uib":
                raise InputError(f"{name}: {array.dtype}; ids are integers")
        true_ids, true_index = _index(labels)
        found_ids, found_index = _index(segmentation)
        keys = true_index * np.int64(len(found_ids)) + found_index
        if mask is not None:
            keys = keys[mask.ravel()]
        found, counts = np.unique(keys, return_counts=True)
        row, column = np.divmod(found, np.int64(len(found_ids)))
        renamed = np.where(label_ids.objects(true_ids), true_ids, 0).astype(np.uint64)
        segments = segment_ids.segments(found_ids).astype(np.uint64)
        keep = ~label_ids.unknown(true_ids)[row]
        row, column, counts = row[keep], column[keep], counts[keep]
        return _table(renamed[row], segments[column], counts)

    @classmethod
    def total(cls, parts: Iterable[Contingency]) -> Contingency:
        """Returns the sum of the tables of parts of a volume; the empty table for no parts."""
        parts = list(parts)
        empty = np.zeros(0, np.uint64)
        return _table(
            np.concatenate([empty, *(part.labels for part in parts)]),
            np.concatenate([empty, *(part.segments for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(part.counts for part in parts)]),
        )

    def __add__(self, other: Contingency) -> Contingency:
        """Returns the sum with the table of another part."""
        return Contingency.total([self, other])

    def without_background(self) -> Contingency:
        """Returns only the pairs with a true object; segment 0 stays and counts as a segment."""
        keep = self.labels > 0
        return Contingency(self.labels[keep], self.segments[keep], self.counts[keep])

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.counts)

    @property
    def voxels(self) -> int:
        """Number of voxels that were counted."""
        return int(self.counts.sum())

    def label_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the labels that occur, `[k]` uint64, sorted, and their numbers of voxels, `[k]` int64."""
        return _sums(self.labels, self.counts)

    def segment_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the segments that occur, `[k]` uint64, sorted, and their numbers of voxels, `[k]` int64."""
        return _sums(self.segments, self.counts)


def _index(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids that occur, sorted, and for each voxel of the flattened array the index of its id."""
    flat = array.ravel()
    # Only one id for each run along x has to be sorted: a few per cent, since objects are many voxels long.
    starts = np.concatenate([np.ones(min(len(flat), 1), bool), flat[1:] != flat[:-1]])
    firsts = np.flatnonzero(starts)
    ids, inverse = np.unique(flat[firsts], return_inverse=True)
    return ids, np.repeat(inverse.astype(np.int64), np.diff(firsts, append=flat.size))


def _table(labels: np.ndarray, segments: np.ndarray, counts: np.ndarray) -> Contingency:
    order = np.lexsort((segments, labels))
    labels, segments, counts = labels[order], segments[order], counts[order]
    first = np.ones(len(order), bool)
    first[1:] = (labels[1:] != labels[:-1]) | (segments[1:] != segments[:-1])
    starts = np.flatnonzero(first)
    added = np.add.reduceat(counts, starts) if len(starts) else counts
    return Contingency(labels[first], segments[first], added.astype(np.int64))


def _sums(ids: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unique, inverse = np.unique(ids, return_inverse=True)
    sums = np.zeros(len(unique), np.int64)
    np.add.at(sums, inverse, counts)
    return unique, sums
