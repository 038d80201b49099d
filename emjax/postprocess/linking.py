"""The operation `link`: objects of single sections become objects of the volume."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.postprocess.operation import Arrays, Global
from emjax.segmentation.clusters import dense, joined
from emjax.segmentation.settings import number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link(Global):
    """Joins objects of neighbouring sections that overlap, each with the one that it overlaps most.

    An id means another object in each section, whether ids repeat or not. Two objects are joined if each is the other's
    partner of the largest overlap, and their intersection over union is at least `overlap`. Ids are 1..n, in the order
    of sections and then of ids.

    Attributes:
        overlap: intersection over union.
    """

    overlap: float = number(0.25, 0, 1)

    kind = "link"
    summary = "joins the objects of neighbouring sections whose intersection over union is at least `overlap`"

    def reads(self, core: Box, outer: Box) -> Box:
        """See `Global.reads`: one section below the core, too."""
        below = (max(core.start[0] - 1, outer.start[0]), *core.start[1:])
        return Box.between(below, core.stop)

    def gather(
        self, labels: np.ndarray, read: Box, block: Block, outer: Box
    ) -> dict[str, np.ndarray]:
        """See `Global.gather`: rows of (section, id) with their areas, and of (section, id, id below) with overlaps."""
        del outer
        own, both = [np.zeros((0, 3), np.uint64)], [np.zeros((0, 4), np.uint64)]
        for index, section in enumerate(labels):
            z = read.start[0] + index
            if z < block.core.start[0]:
                continue
            own.append(_counted(z, section[None]))
            if index:
                both.append(_counted(z, np.stack([section, labels[index - 1]])))
        return {"areas": np.concatenate(own), "overlaps": np.concatenate(both)}

    def decide(self, grid: Grid, parts: Iterator[Arrays]) -> dict[str, np.ndarray]:
        """See `Global.decide`."""
        del grid
        found = list(parts)
        objects, areas = _summed(np.concatenate([part["areas"] for part in found]))
        pairs, overlaps = _summed(np.concatenate([part["overlaps"] for part in found]))
        upper = _find(objects, pairs[:, 0], pairs[:, 1])
        lower = _find(objects, pairs[:, 0] - np.uint64(1), pairs[:, 2])
        share = overlaps / np.maximum(areas[upper] + areas[lower] - overlaps, 1)
        mutual = _first_largest(upper, overlaps) & _first_largest(lower, overlaps)
        kept = mutual & (share >= self.overlap)
        ids = np.arange(1, len(objects) + 1, dtype=np.uint64)
        joins = np.stack([lower[kept], upper[kept]], axis=1).astype(np.uint64) + np.uint64(1)
        linked = dense(joined(ids, joins)) if len(ids) else ids
        return {"objects": objects, "linked": linked}

    def change(self, labels: np.ndarray, block: Block, table: Arrays) -> np.ndarray:
        """See `Global.change`."""
        changed = np.zeros(labels.shape, np.uint64)
        for index, section in enumerate(labels):
            inside = section > 0
            z = np.full(int(inside.sum()), block.core.start[0] + index, np.uint64)
            place = _find(table["objects"], z, section[inside])
            changed[index][inside] = table["linked"][place]
        return changed


def _counted(z: int, ids: np.ndarray) -> np.ndarray:
    """Returns the section, the ids and the number of voxels for each combination of ids above 0, `[n, 2 + k]`."""
    flat = ids.reshape(len(ids), -1)
    flat = flat[:, np.all(flat > 0, axis=0)]
    found, counts = np.unique(flat, axis=1, return_counts=True)
    section = np.full(found.shape[1], z)
    return np.stack([section, *found, counts], axis=1).astype(np.uint64)


def _summed(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows without their last column, each once, sorted; and the sums of that column."""
    keys, index = np.unique(rows[:, :-1], axis=0, return_inverse=True)
    sums = np.zeros(len(keys), np.int64)
    np.add.at(sums, index.reshape(-1), rows[:, -1].astype(np.int64))
    return keys, sums


def _find(objects: np.ndarray, z: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Returns the rows of `[n, 2]` sorted (section, id), all of which exist."""
    kind = np.dtype([("z", np.uint64), ("id", np.uint64)])
    known = np.ascontiguousarray(objects).view(kind).reshape(-1)
    asked = np.ascontiguousarray(np.stack([z, ids], axis=1)).view(kind).reshape(-1)
    return np.searchsorted(known, asked)


def _first_largest(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns where a value is the largest of its group, of equal ones the first."""
    order = np.lexsort((np.arange(len(values)), -values, group))
    first = np.ones(len(order), bool)
    first[1:] = group[order][1:] != group[order][:-1]
    found = np.zeros(len(order), bool)
    found[order[first]] = True
    return found
