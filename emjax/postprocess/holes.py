"""The operation `fill`: background that one object encloses becomes part of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import ndimage

from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.postprocess.operation import Arrays, Global
from emjax.segmentation.clusters import joined
from emjax.segmentation.settings import choice, number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fill(Global):
    """Fills holes: background that is connected through faces, touches one object alone, and not the volume's border.

    Attributes:
        plane: whether holes are those of sections, which objects enclose along y and x alone.
        max_size: voxels; larger holes stay; 0: all are filled.
    """

    plane: bool = choice(False, (True, False))
    max_size: int = number(0, 0)

    kind = "fill"
    summary = "fills holes that one object encloses"

    def reads(self, core: Box, outer: Box) -> Box:
        """See `Global.reads`: objects may touch a hole from beside the core."""
        return core.grow((1, 1, 1)).clip(outer)

    def gather(
        self, labels: np.ndarray, read: Box, block: Block, outer: Box
    ) -> dict[str, np.ndarray]:
        """See `Global.gather`: of each piece of background its size, what it touches, and where it goes on."""
        inner = block.core.translate(tuple(-start for start in read.start)).slices
        pieces, count = self._pieces(labels[inner])
        wide = np.zeros(labels.shape, np.int64)
        wide[inner] = pieces
        touched, border = [], np.zeros(count + 1, bool)
        faces = {}
        for axis in self._axes:
            for step in (-1, 1):
                here, there = _shifted(axis, step)
                pair = (wide[here] > 0) & (labels[there] > 0)
                ends = np.stack([wide[here][pair].astype(np.uint64), labels[there][pair]])
                touched.append(np.unique(ends, axis=1))
                plane = np.take(pieces, 0 if step < 0 else -1, axis=axis)
                faces[f"face_{axis}_{step}"] = plane
                ends_here = block.core.start, block.core.stop
                whole = outer.start, outer.stop
                side = 0 if step < 0 else 1
                if ends_here[side][axis] == whole[side][axis]:
                    border[np.unique(plane)] = True
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
        pairs = np.unique(np.concatenate(touched, axis=1), axis=1)
        return {"sizes": sizes, "border": border[1:], "pairs": pairs, **faces}

    def decide(self, grid: Grid, parts: Iterator[Arrays]) -> dict[str, np.ndarray]:
        """See `Global.decide`: pieces that go on in other blocks are one."""
        found = list(parts)
        first = np.concatenate([[0], np.cumsum([len(part["sizes"]) for part in found])])
        ids = np.arange(1, first[-1] + 1, dtype=np.uint64)
        joins = [np.zeros((0, 2), np.uint64)]
        _, rows, columns = grid.shape
        for block in grid:
            for axis in self._axes:
                if block.core.start[axis] == grid.outer.start[axis]:
                    continue
                below = block.index - (rows * columns, columns, 1)[axis]
                upper = found[below][f"face_{axis}_1"]
                lower = found[block.index][f"face_{axis}_-1"]
                both = (upper > 0) & (lower > 0)
                ends = (upper[both] + first[below], lower[both] + first[block.index])
                joins.append(np.unique(np.stack(ends, axis=1), axis=0).astype(np.uint64))
        whole = joined(ids, np.concatenate(joins)) if len(ids) else ids
        roots, index = np.unique(whole, return_inverse=True)
        sizes = np.zeros(len(roots), np.int64)
        np.add.at(sizes, index, np.concatenate([part["sizes"] for part in found]))
        border = np.zeros(len(roots), bool)
        np.logical_or.at(border, index, np.concatenate([part["border"] for part in found]))
        pairs = [
            np.stack(
                [
                    index[(part["pairs"][0] + np.uint64(start) - np.uint64(1)).astype(np.int64)],
                    part["pairs"][1],
                ]
            )
            for part, start in zip(found, first[:-1], strict=True)
            if part["pairs"].shape[1]
        ]
        touched = np.unique(np.concatenate(pairs, axis=1), axis=1) if pairs else np.zeros((2, 0))
        touched = touched.astype(np.uint64)
        holes = touched[0].astype(np.int64)
        alone = np.bincount(holes, minlength=len(roots)) == 1
        filled = np.zeros(len(roots), np.uint64)
        filled[holes] = touched[1]
        filled[~alone | border | (sizes > (self.max_size or np.inf))] = 0
        return {"first": first[:-1], "filled": np.concatenate([filled[index], [np.uint64(0)]])}

    def change(self, labels: np.ndarray, block: Block, table: Arrays) -> np.ndarray:
        """See `Global.change`."""
        pieces, _ = self._pieces(labels)
        # Objects are in no piece: -1 is the 0 at the end.
        place = np.where(pieces > 0, pieces - 1 + table["first"][block.index], -1)
        return np.where(labels > 0, labels, table["filled"][place])

    @property
    def _axes(self) -> tuple[int, ...]:
        return (1, 2) if self.plane else (0, 1, 2)

    def _pieces(self, labels: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns the connected pieces of background of a block, and how many there are."""
        around = ndimage.generate_binary_structure(3, 1)
        if self.plane:
            around[[0, 2]] = False
        # Its type says that it may be the number alone, which it is with an output of one's own.
        found: Any = ndimage.label(labels == 0, around)
        pieces, count = found
        return pieces.astype(np.int64), int(count)


def _shifted(axis: int, step: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Returns the slices of all voxels with a neighbour along an axis, and those of the neighbours."""
    lower, upper = (
        tuple(part if a == axis else slice(None) for a in range(3))
        for part in (slice(None, -1), slice(1, None))
    )
    return (lower, upper) if step > 0 else (upper, lower)
