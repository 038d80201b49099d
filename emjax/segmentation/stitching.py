"""Stitching: finds which labels of neighbouring cells are the same thing, where both cells were segmented.

Each cell is segmented with a halo, so both neighbours have labels on either side of the face between them: what lies at
a face is seen from both sides.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.segmentation.cells import Cells, cut
from emjax.segmentation.contacts import UNIT
from emjax.segmentation.region_graph import EdgeStatistics

# Voxels on each side of a face that are compared; more voxels add little, and cost disk space.
_DEPTH = 8


@dataclasses.dataclass(frozen=True)
class Face:
    """One of the six faces of a cell.

    Attributes:
        axis: 0, 1 or 2.
        upper: whether it is the face with the higher coordinate.
    """

    axis: int
    upper: bool

    @property
    def name(self) -> str:
        """Name of the face in file names, such as z0 or x1."""
        return "zyx"[self.axis] + ("1" if self.upper else "0")

    def slab(self, cell: Block, cells: Cells) -> Box:
        """Returns the box beyond the face in which labels are compared; empty at the border of the volume.

        Args:
            cell: the cell whose face this is.
            cells: all cells of the volume.
        """
        depth = min(_DEPTH, cells.halo[self.axis], cells.size[self.axis])
        start, stop = list(cell.core.start), list(cell.core.stop)
        if self.upper:
            start[self.axis], stop[self.axis] = stop[self.axis], stop[self.axis] + depth
        else:
            start[self.axis], stop[self.axis] = start[self.axis] - depth, start[self.axis]
        return Box.between(tuple(start), tuple(stop)).clip(cells.outer)


def outer_slabs(labels: np.ndarray, cell: Block, cells: Cells) -> dict[str, np.ndarray]:
    """Returns a cell's labels of the voxels just beyond its faces.

    Args:
        labels: `[z, y, x]` labels of `cell.read`.
        cell: the cell, with its core.
        cells: all cells of the volume.

    Returns:
        Name of each face that has a neighbour -> the cell's labels in its slab.
    """
    slabs = {}
    for face in (Face(axis, upper) for axis in range(3) for upper in (False, True)):
        slab = face.slab(cell, cells)
        if slab.volume:
            slabs[face.name] = np.ascontiguousarray(cut(labels, slab, cell.read))
    return slabs


def match(
    lower: tuple[np.ndarray, np.ndarray],
    upper: tuple[np.ndarray, np.ndarray],
    share: float | None = None,
    every: bool = False,
) -> EdgeStatistics:
    """Finds the labels of two neighbouring cells that are the same, or that overlap.

    Args:
        lower: the lower cell's labels of the slab below the face and of the slab above it.
        upper: the upper cell's labels of the same two slabs.
        share: for objects, see `StitchSettings.stitch`. None, for fragments: two are the same if more than half of the
            voxels that either has are common, so that each has at most one partner along a face, and a fragment that
            straddles a border between objects joins no others.
        every: whether all pairs are returned that have more than half of the smaller one's voxels in common.

    Returns:
        The pairs; `contact` is the number of voxels that both have. Of these, `total` counts each as an affinity of 1,
        and `count` the voxels of the smaller one, so that `mean` is the share that they have in common.
    """
    (below_a, above_a), first_a = _from_one(lower)
    (below_b, above_b), first_b = _from_one(upper)
    pairs, common = _common((below_a, below_b), (above_a, above_b))
    a, b = pairs[:, 0], pairs[:, 1]
    of_a = np.stack([_counts(below_a, a), _counts(above_a, a)])
    of_b = np.stack([_counts(below_b, b), _counts(above_b, b)])
    counts, all_a, all_b = common.sum(axis=0), of_a.sum(axis=0), of_b.sum(axis=0)
    smaller = np.minimum(all_a, all_b)
    if every:
        keep = 2 * counts > smaller
    elif share is None:
        keep = 2 * counts > all_a + all_b - counts
    else:
        mutual = _largest(a, counts) & _largest(b, counts)
        branch = ((common > 0) & (common > share * np.minimum(of_a, of_b))).all(axis=0)
        keep = (mutual | branch) & (counts > share * smaller)
    ids = pairs[keep].astype(np.uint64) + np.array([first_a, first_b], np.uint64)
    counts, smaller = counts[keep].astype(np.int64), smaller[keep].astype(np.int64)
    return EdgeStatistics(
        np.sort(ids, axis=1), counts, counts * UNIT, smaller, np.zeros(len(ids), np.int64)
    )


def _from_one(slabs: tuple[np.ndarray, np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Returns a cell's labels counted from 1, as they are close to each other, and what is to be added again."""
    labels = [slab.ravel() for slab in slabs]
    first = min((int(part[part > 0].min()) for part in labels if part.any()), default=1) - 1
    return [
        np.where(part > 0, part - np.uint64(first), 0).astype(np.int64) for part in labels
    ], first


def _common(*sides: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs of labels that share voxels, `[n, 2]`, and how many on each side of the face, `[2, n]`."""
    # A pair as one number: sorting these is many times faster than sorting rows.
    width = max(int(b.max(initial=0)) for _, b in sides) + 1
    found = []
    for a, b in sides:
        both = (a > 0) & (b > 0)
        found.append(np.unique(a[both] * width + b[both], return_counts=True))
    keys = np.unique(np.concatenate([key for key, _ in found]))
    common = np.zeros((len(sides), len(keys)), np.int64)
    for side, (key, counts) in enumerate(found):
        common[side, np.searchsorted(keys, key)] = counts
    return np.stack(np.divmod(keys, width), axis=1), common


def _counts(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Returns the number of voxels of each of the given ids."""
    return np.bincount(labels, minlength=int(ids.max(initial=0)) + 1)[ids]


def _largest(ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns which rows have the highest count of their id; the first of equal ones."""
    order = np.lexsort((np.arange(len(ids)), -counts, ids))
    first = np.ones(len(ids), bool)
    first[1:] = ids[order][1:] != ids[order][:-1]
    result = np.zeros(len(ids), bool)
    result[order] = first
    return result
