"""Fragments (supervoxels): a watershed on a boundary map, from seeds deep inside of objects."""

from __future__ import annotations

import bioimage_cpp.segmentation as bioimage
import edt
import numpy as np
from scipy import ndimage

from emjax.errors import InputError
from emjax.segmentation.basins import basins, section_distances
from emjax.segmentation.flooding import flood_affinities
from emjax.segmentation.prediction import Affinities

COMBINE = ("mean", "worst")
SEEDS = ("maxima", "basins")


def affinity_boundary(
    affinities: Affinities, *, plane: bool = True, combine: str = "worst"
) -> np.ndarray:
    """Makes a boundary map of the nearest affinities.

    Args:
        affinities: the nearest are read.
        plane: y and x only; else z, too.
        combine: 1 - 'mean' of a voxel's affinities, or 1 - the 'worst' of them. A sharp boundary
            across one axis is 1/2 in the mean of two axes, but 1/3 of three: in 3D, take 'worst'.

    Returns:
        `[z, y, x]` float32 in [0, 1]. A voxel at the volume's first plane has no partner along that
        axis; it takes the affinity of the next plane to it.

    Source: `mean` in the plane as in the code of arXiv:2308.09917, `worst` as in its multicut.
    """
    if combine not in COMBINE:
        raise InputError(f"boundary={combine!r} is unknown; use {' or '.join(COMBINE)}")
    chosen = affinities.nearest()
    axes = range(1 if plane else 0, 3)
    boundary = np.zeros(chosen[0].shape, np.float32)
    known = 0
    for axis in axes:
        if boundary.shape[axis] == 1:
            continue
        values = 1 - chosen[axis]
        first, second = (
            tuple(np.s_[i : i + 1] if a == axis else np.s_[:] for a in range(3)) for i in (0, 1)
        )
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
    plane: bool = True,
    seeds: str = "maxima",
    sigma_seeds: float = 0.0,
    sigma_weights: float = 0.0,
    boundary_weight: float = 1.0,
    min_size: int = 0,
    mask: np.ndarray | None = None,
    affinities: Affinities | None = None,
) -> np.ndarray:
    """Cuts a volume into fragments by a distance-transform watershed.

    Seeds come from the distance to the nearest voxel with a boundary of `threshold` or more.

    Args:
        boundary: `[z, y, x]` float32 in [0, 1].
        threshold: of the boundary.
        plane: each section by itself (for sections much thicker than voxels are wide); else in 3D.
        seeds: the 'maxima' of the distance, or its 'basins': all voxels below `threshold` that lead to the same
            maximum by steepest ascent. Then boundaries alone are left to flood, which is faster; where an object is
            cut into fragments is decided by its shape.
        sigma_seeds: Gaussian smoothing of the distance, voxels; fewer seeds.
        sigma_weights: Gaussian smoothing of the boundary that is flooded, voxels.
        boundary_weight: 1 floods the boundary; less mixes in the inverted distance, which keeps
            fragments round where the boundary has gaps.
        min_size: smaller fragments lose their seed, and their neighbours flood them, voxels.
        mask: `[z, y, x]` bool; False stays 0. None labels every voxel that a seed can reach.
        affinities: flood along the edges of the nearest affinities instead of over the boundary
            map; boundaries then lie between voxels, and the three options on weights are unused.

    Returns:
        `[z, y, x]` uint64, ids 1..n, unique over sections; 0 where no seed reaches.

    Raises:
        InputError: unknown `seeds`.

    Source: Beier et al., Nature Methods 14 (2017), doi:10.1038/nmeth.4151, for the distance
    transform, its smoothing, and the mixture.
    """
    if seeds not in SEEDS:
        raise InputError(f"seeds={seeds!r} is unknown; use {' or '.join(SEEDS)}")
    sections = [slice(z, z + 1) for z in range(len(boundary))] if plane else [slice(None)]
    nearest = None
    if affinities is not None:
        chosen = affinities.nearest()
        # Stored in the order z, y, x.
        nearest = [chosen[axis] for axis in range(1 if plane else 0, 3)]
    distances = section_distances(boundary < threshold) if plane else None
    fragments = np.zeros(boundary.shape, np.uint64)
    last = 0
    for part in sections:
        squeeze = (lambda a: a[..., 0, :, :]) if plane else (lambda a: a)
        heights = squeeze(boundary[part])
        inside = None if mask is None else np.ascontiguousarray(squeeze(mask[part]))
        distance = squeeze(distances[part]) if plane else _distance(heights, threshold)
        markers = _seeds(distance, seeds, sigma_seeds, inside)
        if nearest is not None:
            edges = [squeeze(affinity[part]) for affinity in nearest]

            def flood(markers, edges=edges, inside=inside):
                return flood_affinities(edges, range(markers.ndim), markers, inside)
        else:
            surface = _surface(heights, distance, sigma_weights, boundary_weight)

            def flood(markers, surface=surface, inside=inside):
                return bioimage.watershed(surface, markers, mask=inside)

        found = flood(markers)
        if min_size > 1:
            found = flood(_keep_large(found, min_size))
        count = int(found.max())
        found = found.astype(np.uint64)
        found[found > 0] += np.uint64(last)
        fragments[part] = found[None] if plane else found
        last += count
    return fragments


def _distance(boundary: np.ndarray, threshold: float) -> np.ndarray:
    """Distance to the nearest boundary voxel, finite even where there is none."""
    inside = boundary < threshold
    if inside.all():
        return np.ones(boundary.shape, np.float32)
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
