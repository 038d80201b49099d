"""Stitching: joins objects of neighbouring cells that overlap where both cells were segmented.

Each cell is segmented with a halo, so both neighbours have labels on either side of the face between them.
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
    """Returns a cell's labels of the voxels beyond its faces.

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
    lower: tuple[np.ndarray, np.ndarray], upper: tuple[np.ndarray, np.ndarray], share: float
) -> EdgeStatistics:
    """Finds the objects of two neighbouring cells that are the same object.

    Args:
        lower: the lower cell's labels of the slab below the face and of the slab above it.
        upper: the upper cell's labels of the same two slabs.
        share: see `StitchSettings.stitch`.

    Returns:
        The pairs; `contact` is the number of voxels that both objects have.
    """
    a = np.concatenate([part.ravel() for part in lower])
    b = np.concatenate([part.ravel() for part in upper])
    both = (a > 0) & (b > 0)
    pairs, counts = np.unique(np.stack([a[both], b[both]], axis=1), axis=0, return_counts=True)
    keep = _largest(pairs[:, 0], counts) & _largest(pairs[:, 1], counts)
    smaller = np.minimum(_totals(a, pairs[:, 0]), _totals(b, pairs[:, 1]))
    keep &= counts > share * smaller
    found = np.sort(pairs[keep].astype(np.uint64), axis=1)
    nothing = np.zeros(len(found), np.int64)
    return EdgeStatistics(found, counts[keep].astype(np.int64), nothing, nothing, nothing)


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
    return counts[np.searchsorted(known, ids)]
