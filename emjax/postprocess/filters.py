"""Local operations: the median of images; opening, closing and smoothing of objects."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from emjax.compiled import compiled
from emjax.errors import InputError
from emjax.geometry.sizes import Size
from emjax.postprocess.operation import Local
from emjax.segmentation.settings import choice, number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Median(Local):
    """The median of the voxels in a window; of predictions, the threshold may come before or after it.

    Attributes:
        size: (z, y, x) voxels of the window, odd.
    """

    size: Size = number((7, 7, 7), 1)

    kind = "median"
    summary = (
        "the median of a window of `size` voxels; of images and predictions, each channel alone"
    )
    of = "image"

    def __post_init__(self) -> None:
        """Raises InputError on a window without a middle."""
        if any(side % 2 == 0 for side in self.size):
            raise InputError(f"median: size={'/'.join(map(str, self.size))} must be odd numbers")

    @property
    def halo(self) -> Size:
        """See `Local.halo`."""
        z, y, x = (side // 2 for side in self.size)
        return z, y, x

    def apply(self, voxels: np.ndarray) -> np.ndarray:
        """See `Local.apply`."""
        return ndimage.median_filter(voxels, self.size, mode="reflect")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windowed(Local):
    """An operation with a cubic window, or a square one within sections.

    Attributes:
        radius: voxels on each side of the middle.
        plane: whether the window lies within a section.
    """

    radius: int = number(1, 1)
    plane: bool = choice(False, (True, False))

    @property
    def reach(self) -> Size:
        """Voxels of the window on each side, z, y, x."""
        return (0 if self.plane else self.radius, self.radius, self.radius)

    @property
    def halo(self) -> Size:
        """See `Local.halo`: two windows after one another."""
        z, y, x = (2 * side for side in self.reach)
        return z, y, x

    @property
    def window(self) -> Size:
        """Size of the window, (z, y, x) voxels."""
        z, y, x = (2 * side + 1 for side in self.reach)
        return z, y, x


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening(Windowed):
    """Removes from each object what no window fits into that lies in the object: spines, bridges, specks."""

    kind = "opening"
    summary = "removes parts of objects that a window does not fit into"

    def apply(self, voxels: np.ndarray) -> np.ndarray:
        """See `Local.apply`."""
        # All that lies in a window around a voxel of the core has its id.
        return ndimage.maximum_filter(_alone(voxels, self.window), self.window, mode="nearest")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Closing(Windowed):
    """Fills gaps of background in each object that no window fits into; gaps between two objects stay."""

    kind = "closing"
    summary = (
        "fills gaps of an object that a window does not fit into, unless another object is as near"
    )

    def apply(self, voxels: np.ndarray) -> np.ndarray:
        """See `Local.apply`."""
        # Filters compute with float64, which holds this.
        none = 2**53
        most = ndimage.maximum_filter(voxels, self.window, mode="nearest")
        ids = np.where(voxels > 0, voxels, none)
        least = ndimage.minimum_filter(ids, self.window, mode="nearest")
        grown = np.where(voxels > 0, voxels, np.where(most == least, most, 0))
        return np.where(voxels > 0, voxels, _alone(grown, self.window))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Smoothing(Windowed):
    """Gives each voxel the label that most voxels of its window have, background too: smooths the faces of objects.

    Of several labels that are as frequent, the voxel's own stays, else the smallest is taken.
    """

    kind = "smoothing"
    summary = "gives each voxel the most frequent label of its window"

    @property
    def halo(self) -> Size:
        """See `Local.halo`."""
        return self.reach

    def apply(self, voxels: np.ndarray) -> np.ndarray:
        """See `Local.apply`."""
        return _most_frequent(np.ascontiguousarray(voxels), *self.reach)


def _alone(labels: np.ndarray, window: Size) -> np.ndarray:
    """Returns the labels where all voxels of the window have the same one, else 0."""
    most = ndimage.maximum_filter(labels, window, mode="nearest")
    least = ndimage.minimum_filter(labels, window, mode="nearest")
    return np.where(most == least, labels, 0)


@compiled
def _most_frequent(labels, reach_z, reach_y, reach_x):
    """Returns the most frequent label around each voxel; windows end at the border of the array."""
    depth, rows, columns = labels.shape
    found = np.empty_like(labels)
    most = (2 * reach_z + 1) * (2 * reach_y + 1) * (2 * reach_x + 1)
    ids, counts = np.empty(most, np.int64), np.empty(most, np.int64)
    for z in range(depth):
        for y in range(rows):
            for x in range(columns):
                used = 0
                for i in range(max(z - reach_z, 0), min(z + reach_z + 1, depth)):
                    for j in range(max(y - reach_y, 0), min(y + reach_y + 1, rows)):
                        for k in range(max(x - reach_x, 0), min(x + reach_x + 1, columns)):
                            label = labels[i, j, k]
                            at = 0
                            while at < used and ids[at] != label:
                                at += 1
                            if at == used:
                                ids[at] = label
                                counts[at] = 0
                                used += 1
                            counts[at] += 1
                own = labels[z, y, x]
                best, count = own, 0
                for at in range(used):
                    if ids[at] == own:
                        count = counts[at]
                for at in range(used):
                    if counts[at] > count or (
                        counts[at] == count and best != own and ids[at] < best
                    ):
                        best, count = ids[at], counts[at]
                found[z, y, x] = best
    return found
