"""How many voxels each pair of a true object and a segment shares: what every score of a segmentation is made of.

Tables of parts of a volume add up to the table of the whole, so that a volume larger than memory is scored block by
block, with the same numbers whatever the blocks.
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
        labels: `[n]` uint64, id of the true object; background is 0.
        segments: `[n]` uint64, id of the segment, 0 where there is none.
        counts: `[n]` int64, voxels that have both.
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
        """Counts the pairs of two arrays.

        Args:
            labels: `[z, y, x]` integers, the truth.
            segmentation: `[z, y, x]` integers of the same shape.
            label_ids: of the labels: what is unknown is not counted, what is background becomes 0.
            segment_ids: of the segmentation: what is no segment becomes 0.
            mask: `[z, y, x]` bool; only where it is True voxels are counted.

        Raises:
            InputError: if the shapes differ, one is no array of integers, or the segmentation has a negative id.
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
        """Adds up the tables of parts of a volume; none at all is the empty table."""
        parts = list(parts)
        empty = np.zeros(0, np.uint64)
        return _table(
            np.concatenate([empty, *(part.labels for part in parts)]),
            np.concatenate([empty, *(part.segments for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(part.counts for part in parts)]),
        )

    def __add__(self, other: Contingency) -> Contingency:
        """Adds the table of another part."""
        return Contingency.total([self, other])

    def without_background(self) -> Contingency:
        """Returns the pairs of true objects alone; a segment that is 0 there stays one."""
        keep = self.labels > 0
        return Contingency(self.labels[keep], self.segments[keep], self.counts[keep])

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.counts)

    @property
    def voxels(self) -> int:
        """Voxels that were counted."""
        return int(self.counts.sum())

    def label_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns ids of the true objects, sorted, and their voxels `[k]` int64."""
        return _sums(self.labels, self.counts)

    def segment_sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns ids of the segments, sorted, and their voxels `[k]` int64."""
        return _sums(self.segments, self.counts)


def _index(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids, sorted, and for each voxel, flat, which of them it has."""
    flat = array.ravel()
    # Objects are many voxels long: one id for each run along x leaves a few per cent to sort.
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
