"""Axes of files that say along which direction of space each of them runs, as NIfTI and NRRD do.

Directions name the axes and give the size of a voxel; voxels keep their order along each axis. A frame with x and y
both backwards, as ITK writes arrays to NIfTI, is the same array. A mirrored or oblique one is another, and refused.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.volumes.place import Place

# Largest part of an axis that may point along the others, of its length: rounding of float32.
_ASKEW = 1e-3


class Directions(NamedTuple):
    """What directions say of three axes.

    Attributes:
        names: 'x', 'y' or 'z' of each axis of the file, in its order.
        side: (z, y, x) length of a voxel, in the unit of the file.
        signs: (z, y, x) 1, or -1 for an axis that runs backwards.
    """

    names: tuple[str, ...]
    side: Triple
    signs: Triple

    def place(self, origin: np.ndarray) -> Place | None:
        """Returns the place of the first voxel; None at 0, where programs leave the origin that do not know it.

        Args:
            origin: (x, y, z) of the centre of the first voxel, in the unit of the file.
        """
        voxels = np.asarray(origin, float)[::-1] * self.signs / self.side
        if not voxels.any():
            return None
        # Headers are rounded to float32.
        return Place.of(np.round(voxels, 3).tolist())


def read_directions(steps: np.ndarray, path: str) -> Directions:
    """Reads the directions of three axes.

    Args:
        steps: `[3, 3]`: row i is the (x, y, z) step from a voxel to the next along axis i of the file.
        path: of the file, for the error message.

    Raises:
        InputError: if axes are oblique, mirrored or of length 0.
    """
    steps = np.asarray(steps, float)
    lengths = np.linalg.norm(steps, axis=1)
    if not np.isfinite(steps).all() or not lengths.all():
        raise InputError(
            f"{path} says that its voxels have no size along an axis: {_rows(steps)}; mend its header"
        )
    along = np.abs(steps).argmax(axis=1)
    aside = np.abs(steps).sum(axis=1) - np.abs(steps).max(axis=1)
    if len(set(along.tolist())) != 3 or (aside > _ASKEW * lengths).any():
        raise InputError(
            f"{path} has oblique axes: {_rows(steps)}; resample it to the axes of its voxels first"
        )
    order = [along.tolist().index(axis) for axis in (2, 1, 0)]
    signs = np.sign(steps[order, (2, 1, 0)])
    if tuple(signs) not in ((1, 1, 1), (1, -1, -1)):
        backwards = [axis for axis, sign in zip("zyx", signs, strict=True) if sign < 0]
        raise InputError(
            f"{path} is mirrored: {', '.join(backwards)} runs backwards; flip it first, so that labels and image lie "
            "the same way (nibabel.as_closest_canonical for NIfTI)"
        )
    names = tuple("xyz"[axis] for axis in along)
    return Directions(names, _sides(lengths[order]), tuple(signs.tolist()))


def _sides(values: np.ndarray) -> Triple:
    """Returns sizes without the digits that float32 has too many of: 0.004 mm is 0.0040000002."""
    return tuple(float(f"{value:.6g}") for value in values)


def _rows(steps: np.ndarray) -> str:
    return " ".join("(" + ", ".join(f"{value:g}" for value in row) + ")" for row in steps)
