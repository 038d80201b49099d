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
) -> EdgeStatistics:
    """Finds the labels of two neighbouring cells that are the same.

    Args:
        lower: the lower cell's labels of the slab below the face and of the slab above it.
        upper: the upper cell's labels of the same two slabs.
        share: for objects, see `StitchSettings.stitch`. None, for fragments: two are the same if more than half of the
            voxels that either has are common, so that each has at most one partner along a face, and a fragment that
            straddles a border between objects joins no others.

    Returns:
        The pairs; `contact` is the number of voxels that both have.
    """
    pairs, common = _common(lower, upper)
    totals = np.stack(
        [
            np.minimum(_totals(a, pairs[:, 0]), _totals(b, pairs[:, 1]))
            for a, b in zip(lower, upper, strict=True)
        ]
    )
    a, b = (np.concatenate([part.ravel() for part in cell]) for cell in (lower, upper))
    of_a, of_b, counts = _totals(a, pairs[:, 0]), _totals(b, pairs[:, 1]), common.sum(axis=0)
    if share is None:
        keep = 2 * counts > of_a + of_b - counts
    else:
        mutual = _largest(pairs[:, 0], counts) & _largest(pairs[:, 1], counts)
        branch = ((common > 0) & (common > share * totals)).all(axis=0)
        keep = (mutual | branch) & (counts > share * np.minimum(of_a, of_b))
    found = np.sort(pairs[keep].astype(np.uint64), axis=1)
    nothing = np.zeros(len(found), np.int64)
    return EdgeStatistics(found, counts[keep].astype(np.int64), nothing, nothing, nothing)


def _common(
    lower: tuple[np.ndarray, np.ndarray], upper: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs of labels that share voxels, `[n, 2]`, and how many on each side of the face, `[2, n]`."""
    rows = []
    for side, (a, b) in enumerate(zip(lower, upper, strict=True)):
        both = (a > 0) & (b > 0)
        found, counts = np.unique(np.stack([a[both], b[both]], axis=1), axis=0, return_counts=True)
        rows.append((found, counts, np.full(len(found), side)))
    found, counts, sides = (np.concatenate(part) for part in zip(*rows, strict=True))
    pairs, index = np.unique(found, axis=0, return_inverse=True)
    common = np.zeros((2, len(pairs)), np.int64)
    common[sides, index.reshape(-1)] = counts
    return pairs, common


def _largest(ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns which rows have the highest count of their id; the first of equal ones."""
    order = np.lexsort((np.arange(len(ids)), -counts, ids))
    first = np.ones(len(ids), bool)
    first[1:] = ids[order][1:] != ids[order][:-1]
    result = np.zeros(len(ids), bool)
    result[order] = first
    return result


def _totals(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Returns the number of voxels of each of the given ids."""
    known, counts = np.unique(labels, return_counts=True)
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[place] == ids, counts[place], 0)
