"""Conversion between boundary maps and affinities: a map is 1 at a membrane or contour, affinities are 0 across it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from emjax.errors import InputError
from emjax.segmentation.prediction import NEAREST, Affinities, Offset, Prediction, partners

# Channels that are boundary maps, used where there are no affinities; the first that exists is taken.
BOUNDARIES = ("membrane", "contour")
COMBINE = ("mean", "worst")


def boundary_channel(names: Sequence[str]) -> str | None:
    """Returns the name of the channel that is a boundary map; None if there is none."""
    return next((name for name in BOUNDARIES if name in names), None)


def affinities_of(prediction: Prediction) -> Affinities:
    """Returns the affinities of a prediction, or those that its membrane or contour implies.

    Raises:
        InputError: the prediction has neither affinities nor a membrane or contour.
    """
    name = boundary_channel(prediction.names)
    if prediction.has_affinities or name is None:
        return prediction.affinities()
    return affinities_of_boundary(prediction.channel(name))


def affinities_of_boundary(boundary: np.ndarray) -> Affinities:
    """Makes nearest affinities from a boundary map: 1 - the larger boundary value of the two voxels.

    Args:
        boundary: `[z, y, x]` float32 in [0, 1], 1 on a membrane or contour.
    """
    return Affinities(tuple(_FromBoundary(boundary, o) for o in NEAREST), NEAREST)


def affinity_boundary(edges: Sequence[np.ndarray], combine: str = "worst") -> np.ndarray:
    """Makes a boundary map from the nearest affinities.

    Args:
        edges: float32 in [0, 1], `[y, x]` or `[z, y, x]`, one array for each axis, in order: the affinity of each voxel
            to the voxel before it along the axis.
        combine: 1 - 'mean' of a voxel's affinities, or 1 - the 'worst' of them. A sharp boundary
            across one axis is 1/2 in the mean of two axes, but 1/3 of three: in 3D, take 'worst'.

    Returns:
        float32 in [0, 1], of the same shape. The first voxels along an axis have no partner there; they take the
        affinity of the voxel after them.

    Raises:
        InputError: unknown `combine`.

    Source: `mean` in the plane as in the code of arXiv:2308.09917, `worst` as in its multicut.
    """
    if combine not in COMBINE:
        raise InputError(f"boundary={combine!r} is unknown; use {' or '.join(COMBINE)}")
    boundary = np.zeros(edges[0].shape, np.float32)
    known = 0
    for axis, edge in enumerate(edges):
        if boundary.shape[axis] == 1:
            continue
        values = 1 - edge
        first, second = ((np.s_[:],) * axis + (i,) for i in (0, 1))
        values[first] = values[second]
        if combine == "mean":
            boundary += values
        else:
            np.maximum(boundary, values, out=boundary)
        known += 1
    return boundary / max(known, 1) if combine == "mean" else boundary


@dataclasses.dataclass(frozen=True)
class _FromBoundary:
    """One channel of affinities, computed when it is read."""

    boundary: np.ndarray
    offset: Offset

    def read(self, sections: slice | int) -> np.ndarray:
        boundary = self.boundary[sections]
        # Values without a partner are never read; they are 0, as in all affinities that emjax makes.
        affinity = np.zeros(boundary.shape, np.float32)
        here, there = partners(self.offset[3 - boundary.ndim :], boundary.shape)
        affinity[here] = 1 - np.maximum(boundary[here], boundary[there])
        return affinity
