"""Resamples voxels from one grid to another: means or linear interpolation for images, the nearest voxel for ids.

Both grids have the axes z, y, x, and are laid over each other by their corners: voxel i spans i to i + 1, and its
centre is at i + 0.5. Every voxel of the target depends on its own place and the stored voxels around it alone, in a
fixed order of additions, so that any box of the target gives the same bits as the whole.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from emjax.geometry.box import Box
from emjax.geometry.sizes import Size, Triple

# Voxels: differences of places below this are rounding, so that the middle of two voxels is the middle on any grid.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Resampling:
    """A target grid over a grid of stored voxels.

    Attributes:
        size: (z, y, x) stored voxels.
        target_size: (z, y, x) voxels of the target.
        scale: (z, y, x) length of a target voxel, in stored voxels; above 1 where voxels become coarser.
        start: (z, y, x) corner of the first target voxel, in stored voxels from the corner of the first of these.
        first: (z, y, x) number of the first target voxel on its lattice, which begins at the corner of the whole.
    """

    size: Size
    target_size: Size
    scale: Triple
    start: Triple = (0.0, 0.0, 0.0)
    first: Size = (0, 0, 0)

    @classmethod
    def covering(
        cls,
        size: Size,
        voxel_nm: Triple,
        target_nm: Sequence[float],
        corner: Sequence[float] = (0, 0, 0),
    ) -> Resampling:
        """Returns the voxels of another size that cover a volume: all that have a part of it.

        They lie on the lattice that begins at the corner of the whole, so that all parts of a whole have one lattice.
        The first and last may reach beyond the volume, by less than their length.

        Args:
            size: (z, y, x) stored voxels.
            voxel_nm: (z, y, x) size of a stored voxel, nm.
            target_nm: (z, y, x) size of a target voxel, nm.
            corner: (z, y, x) corner of the volume in its whole, in stored voxels.
        """
        return cls._on_lattice(size, voxel_nm, target_nm, corner, inside=0.0)

    @classmethod
    def centred(
        cls,
        size: Size,
        voxel_nm: Triple,
        target_nm: Sequence[float],
        corner: Sequence[float] = (0, 0, 0),
    ) -> Resampling:
        """Returns the voxels of another size whose centres lie in a volume; at least one, see `covering`."""
        return cls._on_lattice(size, voxel_nm, target_nm, corner, inside=0.5)

    @classmethod
    def _on_lattice(
        cls,
        size: Size,
        voxel_nm: Triple,
        target_nm: Sequence[float],
        corner: Sequence[float],
        inside: float,
    ) -> Resampling:
        """Returns the target voxels that lie in the volume from their share `inside` on, from either end."""
        first, count, scale, start = [], [], [], []
        for n, a, b, c in zip(size, voxel_nm, target_nm, corner, strict=True):
            ratio = float(b) / float(a)
            begin, end = c / ratio, (c + n) / ratio
            if inside:
                # A centre on the very end belongs to the next voxel.
                low, high = (math.ceil(end - inside - _ROUNDING) for end in (begin, end))
            else:
                low, high = math.floor(begin + _ROUNDING), math.ceil(end - _ROUNDING)
            first.append(low)
            count.append(max(1, high - low))
            scale.append(ratio)
            start.append(low * ratio - c)
        same = tuple(0.0 if abs(s) < _ROUNDING else s for s in start)
        return cls(tuple(size), tuple(count), tuple(scale), same, tuple(first))

    @property
    def back(self) -> Resampling:
        """The way back: from voxels of the target to the stored grid."""
        start = tuple(-a / s for a, s in zip(self.start, self.scale, strict=True))
        return Resampling(self.target_size, self.size, tuple(1 / s for s in self.scale), start)

    def cover(self, box: Box) -> Box:
        """Returns the voxels of the target that have a part of a box of stored voxels."""
        ends = []
        for corner, whole in ((box.start, math.floor), (box.stop, math.ceil)):
            rounding = _ROUNDING if whole is math.floor else -_ROUNDING
            places = zip(corner, self.start, self.scale, strict=True)
            ends.append(tuple(whole((c - a) / s + rounding) for c, a, s in places))
        return Box.between(*ends).clip(Box((0, 0, 0), self.target_size))

    def inside(self, box: Box) -> Box:
        """Returns the voxels of the target whose centres lie in a box of stored voxels; empty where there are none."""
        ends = []
        for corner in (box.start, box.stop):
            places = zip(corner, self.start, self.scale, strict=True)
            ends.append(tuple(math.ceil((c - a) / s - 0.5 - _ROUNDING) for c, a, s in places))
        return Box.between(*ends).clip(Box((0, 0, 0), self.target_size))

    def reads(self, box: Box) -> Box:
        """Returns the stored voxels that `interpolate` needs for a box of the target: with what lies around it."""
        return _around([self._taps(axis, box)[0] for axis in range(3)])

    def interpolate(self, voxels: np.ndarray, box: Box) -> np.ndarray:
        """Resamples a box: along axes that become finer linearly, along those that become coarser to means.

        A coarser voxel is the mean of all that it covers, so that fine texture does not alias; by whole factors this is
        what the levels of a pyramid are made by. Beyond the ends of the volume its last voxels are repeated.

        Args:
            voxels: `[..., z, y, x]`, the stored voxels of `reads(box)`.
            box: of the target.

        Returns:
            `[..., z, y, x]` of the box: integers rounded, of the same type; else float32. Axes whose grids are the same
            keep their values to the bit.
        """
        read = self.reads(box)
        found = voxels
        for axis in range(3):
            if self._is_same(axis):
                continue
            indices, weights = self._taps(axis, box)
            found = _weigh(found, indices - read.start[axis], weights, axis - 3)
        if found is voxels:
            return voxels if voxels.dtype.kind != "f" else voxels.astype(np.float32, copy=False)
        if voxels.dtype.kind == "f":
            return found
        return np.rint(found).astype(voxels.dtype)

    def nearest_voxels(self, axis: int, box: Box) -> np.ndarray:
        """Returns for each voxel of a box of the target the stored voxel that its centre lies in, along an axis."""
        found = np.floor(self._centres(axis, box) + _ROUNDING).astype(np.int64)
        return np.clip(found, 0, self.size[axis] - 1)

    def reads_nearest(self, box: Box) -> Box:
        """Returns the stored voxels that `nearest` needs for a box of the target."""
        return _around([self.nearest_voxels(axis, box) for axis in range(3)])

    def nearest(self, voxels: np.ndarray, box: Box) -> np.ndarray:
        """Takes for each voxel of a box of the target the stored voxel that its centre lies in.

        Args:
            voxels: `[..., z, y, x]` of any type, the stored voxels of `reads_nearest(box)`.
            box: of the target. Beyond the ends of the volume its last voxels are repeated.

        Returns:
            `[..., z, y, x]` of the box; values are only copied.
        """
        read = self.reads_nearest(box)
        z, y, x = (self.nearest_voxels(axis, box) - read.start[axis] for axis in range(3))
        return voxels[(..., *np.ix_(z, y, x))]

    def _is_same(self, axis: int) -> bool:
        return self.scale[axis] == 1 and self.start[axis] == 0

    def _centres(self, axis: int, box: Box) -> np.ndarray:
        """Returns the centres of a box's voxels along an axis, in stored voxels from the first one's corner."""
        places = np.arange(box.start[axis], box.stop[axis], dtype=np.float64) + 0.5
        return self.start[axis] + places * self.scale[axis]

    def _taps(self, axis: int, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Returns the stored voxels that each target voxel is made of along an axis, and their weights, `[taps, n]`."""
        if self._is_same(axis):
            places = np.arange(box.start[axis], box.stop[axis])[None]
            return places, np.ones(places.shape, np.float32)
        centres, scale = self._centres(axis, box), self.scale[axis]
        if scale > 1:
            # What each stored voxel has in common with the target voxel.
            start, stop = centres - scale / 2, centres + scale / 2
            first = np.floor(start + _ROUNDING).astype(np.int64)
            indices = first + np.arange(math.ceil(scale) + 1)[:, None]
            weights = np.minimum(stop, indices + 1) - np.maximum(start, indices)
            weights = np.maximum(weights, 0) / scale
        else:
            first = np.floor(centres - 0.5 + _ROUNDING).astype(np.int64)
            indices = np.stack([first, first + 1])
            beyond = np.clip(centres - 0.5 - first, 0, 1)
            weights = np.stack([1 - beyond, beyond])
        return np.clip(indices, 0, self.size[axis] - 1), weights.astype(np.float32)


def _around(indices: Sequence[np.ndarray]) -> Box:
    """Returns the box that holds the voxels with these places along z, y, x."""
    starts = tuple(int(i.min()) for i in indices)
    return Box.between(starts, tuple(int(i.max()) + 1 for i in indices))


def _weigh(voxels: np.ndarray, indices: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Replaces each place along an axis by a weighted sum of places; float32."""
    shape = list(voxels.shape)
    before, length = math.prod(shape[:axis]), shape[axis]
    source = np.ascontiguousarray(voxels, np.float32).reshape(before, length, -1)
    found = np.empty((before, indices.shape[1], source.shape[2]), np.float32)
    # Imported here: most volumes are opened without being resampled, and numba takes a second.
    from emjax.volumes.weighted_sums import add_weighted

    add_weighted(source, indices, weights, found)
    shape[axis] = indices.shape[1]
    return found.reshape(shape)
