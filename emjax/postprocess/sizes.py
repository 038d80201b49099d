"""Operations that keep objects by their size in the whole volume."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator

import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.postprocess.operation import Arrays, Global
from emjax.segmentation.settings import number


@dataclasses.dataclass(frozen=True, kw_only=True)
class BySize(Global):
    """Counts the voxels of each id in the whole volume, and keeps some of the ids; these do not change."""

    @abc.abstractmethod
    def keep(self, ids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Returns which objects stay, `[n]` bool, from the ids, sorted, and the sizes of all."""

    def gather(
        self, labels: np.ndarray, read: Box, block: Block, outer: Box
    ) -> dict[str, np.ndarray]:
        """See `Global.gather`."""
        del read, block, outer
        ids, sizes = np.unique(labels[labels > 0], return_counts=True)
        return {"ids": ids, "sizes": sizes}

    def decide(self, grid: Grid, parts: Iterator[Arrays]) -> dict[str, np.ndarray]:
        """See `Global.decide`."""
        del grid
        found = list(parts)
        ids, index = np.unique(np.concatenate([p["ids"] for p in found]), return_inverse=True)
        sizes = np.zeros(len(ids), np.int64)
        np.add.at(sizes, index, np.concatenate([p["sizes"] for p in found]))
        return {"kept": ids[self.keep(ids, sizes)]}

    def change(self, labels: np.ndarray, block: Block, table: Arrays) -> np.ndarray:
        """See `Global.change`."""
        del block
        return np.where(np.isin(labels, table["kept"]), labels, np.uint64(0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeLimits(BySize):
    """Removes objects that are too small or too large.

    Attributes:
        min_size: voxels; smaller objects become background.
        max_size: voxels; larger objects become background; 0: none does.
    """

    min_size: int = number(0, 0)
    max_size: int = number(0, 0)

    kind = "size"
    summary = "removes objects of fewer than `min_size`, or more than `max_size`, voxels"

    def __post_init__(self) -> None:
        """Raises InputError where nothing, or everything, would be removed."""
        if not (self.min_size > 1 or self.max_size):
            raise InputError("size: removes nothing; give min_size of 2 or more, or max_size")
        if self.max_size and self.max_size < self.min_size:
            raise InputError(
                f"size: max_size={self.max_size} is below min_size={self.min_size}: nothing would be left"
            )

    def keep(self, ids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """See `BySize.keep`."""
        return (sizes >= self.min_size) & (sizes <= (self.max_size or np.inf))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Largest(BySize):
    """Keeps the largest objects; of equal ones those with the smaller ids.

    Attributes:
        count: how many.
    """

    count: int = number(1, 1)

    kind = "largest"
    summary = "keeps the `count` largest objects"

    def keep(self, ids: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """See `BySize.keep`."""
        kept = np.zeros(len(ids), bool)
        kept[np.argsort(-sizes, kind="stable")[: self.count]] = True
        return kept
