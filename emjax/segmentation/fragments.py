"""Fragments (supervoxels): a watershed on a boundary map, from seeds deep inside of objects."""

from __future__ import annotations

from collections.abc import Sequence

import bioimage_cpp.segmentation as bioimage
import edt
import numpy as np
from scipy import ndimage

from emjax.errors import InputError
from emjax.segmentation.basins import basins, section_distance
from emjax.segmentation.flooding import flood_affinities

COMBINE = ("mean", "worst")
SEEDS = ("maxima", "basins")


def affinity_boundary(edges: Sequence[np.ndarray], combine: str = "worst") -> np.ndarray:
    """Makes a boundary map of the nearest affinities.

    Args:
        edges: float32 in [0, 1], `[y, x]` or `[z, y, x]`, one array an axis, in order: the affinities of voxels to
            those before them along it.
        combine: 1 - 'mean' of a voxel's affinities, or 1 - the 'worst' of them. A sharp boundary
            across one axis is 1/2 in the mean of two axes, but 1/3 of three: in 3D, take 'worst'.

    Returns:
        float32 in [0, 1], of the same shape. The first voxels along an axis have no partner there; they take the
        affinity of the next to them.

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


def watershed(
    boundary: np.ndarray,
    *,
    threshold: float = 0.5,
    seeds: str = "maxima",
    sigma_seeds: float = 0.0,
    sigma_weights: float = 0.0,
    boundary_weight: float = 1.0,
    min_size: int = 0,
    mask: np.ndarray | None = None,
    edges: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Cuts a volume, or a section, into fragments by a distance-transform watershed.

    Seeds come from the distance to the nearest voxel with a boundary of `threshold` or more.

    Args:
        boundary: `[z, y, x]` or `[y, x]` float32 in [0, 1].
        threshold: of the boundary.
        seeds: the 'maxima' of the distance, or its 'basins': all voxels below `threshold` that lead to the same
            maximum by steepest ascent. Then boundaries alone are left to flood, which is faster; where an object is
            cut into fragments is decided by its shape.
        sigma_seeds: Gaussian smoothing of the distance, voxels; fewer seeds.
        sigma_weights: Gaussian smoothing of the boundary that is flooded, voxels.
        boundary_weight: 1 floods the boundary; less mixes in the inverted distance, which keeps
            fragments round where the boundary has gaps.
        min_size: smaller fragments lose their seed, and their neighbours flood them, voxels.
        mask: bool, of the same shape; False stays 0. None labels every voxel that a seed can reach.
        edges: flood along these instead of over the boundary map, see `affinity_boundary`;
            boundaries then lie between voxels, and the two options on weights are unused.

    Returns:
        uint32 of the same shape, ids 1..n; 0 where no seed reaches.

    Raises:
        InputError: unknown `seeds`.

    Source: Beier et al., Nature Methods 14 (2017), doi:10.1038/nmeth.4151, for the distance
    transform, its smoothing, and the mixture.
    """
    if seeds not in SEEDS:
        raise InputError(f"seeds={seeds!r} is unknown; use {' or '.join(SEEDS)}")
    distance = _distance(boundary < threshold)
    markers = _seeds(distance, seeds, sigma_seeds, mask)
    if edges is None:
        surface = _surface(boundary, distance, sigma_weights, boundary_weight)

    def flood(markers: np.ndarray) -> np.ndarray:
        if edges is None:
            return bioimage.watershed(surface, markers, mask=mask).astype(np.uint32)
        return flood_affinities(edges, range(markers.ndim), markers, mask)

    found = flood(markers)
    return flood(_keep_large(found, min_size)) if min_size > 1 else found


def _distance(inside: np.ndarray) -> np.ndarray:
    """Distance to the nearest boundary voxel, finite even where there is none."""
    if inside.ndim == 2:
        return section_distance(inside)
    if inside.all():
        return np.ones(inside.shape, np.float32)
    return edt.edt(np.ascontiguousarray(inside), black_border=False, parallel=1)


def _seeds(distance: np.ndarray, kind: str, sigma: float, mask: np.ndarray | None) -> np.ndarray:
    """The regional maxima of the distance, or the basins around them, uint32."""
    smooth = ndimage.gaussian_filter(distance, sigma) if sigma else distance
    # Between objects the smoothed distance may have a maximum on the boundary itself.
    inside = distance > 0 if mask is None else (distance > 0) & mask
    return basins(smooth, inside, tops=kind == "maxima")


def _surface(
    boundary: np.ndarray, distance: np.ndarray, sigma: float, boundary_weight: float
) -> np.ndarray:
    """What is flooded, `alpha boundary + (1 - alpha) (1 - distance / max)`."""
    surface = ndimage.gaussian_filter(boundary, sigma) if sigma else boundary
    if boundary_weight < 1:
        depth = distance / max(float(distance.max()), 1.0)
        surface = boundary_weight * surface + (1 - boundary_weight) * (1 - depth)
    return np.ascontiguousarray(surface, np.float32)


def _keep_large(fragments: np.ndarray, min_size: int) -> np.ndarray:
    """The fragments of at least `min_size` voxels as markers, renumbered."""
    keep = np.bincount(fragments.ravel()) >= min_size
    keep[0] = False
    if not keep.any():
        return fragments
    lookup = np.where(keep, np.cumsum(keep), 0).astype(fragments.dtype)
    return lookup[fragments]
