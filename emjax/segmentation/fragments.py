"""Fragments (also called supervoxels): a watershed of a boundary map or along affinities, from seeds inside objects.

All methods that join fragments use these functions and settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import bioimage_cpp.segmentation as bioimage
import edt
import numpy as np

from emjax.compiled import compiled
from emjax.errors import InputError
from emjax.segmentation.basins import basins, section_distance
from emjax.segmentation.boundary import (
    BOUNDARIES,
    COMBINE,
    affinities_of,
    affinity_boundary,
    boundary_channel,
)
from emjax.segmentation.flooding import flood_affinities
from emjax.segmentation.method import NEEDS_NEAREST, Names, Offsets
from emjax.segmentation.prediction import Affinities, Prediction, has_nearest, partners
from emjax.segmentation.settings import SizeSettings, choice, number
from emjax.segmentation.smoothing import smooth

SEEDS = ("maxima", "basins")
FLOODS = ("affinities", "boundary")
# Above this affinity, two voxels belong together for sure (our choice).
_SURE = 0.9
# Voxels from which on what no seed reaches is a fragment of its own: an object that is one voxel wide has no seed.
_UNSEEDED = 2
# Channels from which fragments can be made, for messages.
NEEDS_BOUNDARY = f"{NEEDS_NEAREST}, or {' or '.join(map(repr, BOUNDARIES))}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FragmentSettings(SizeSettings):
    """How affinities, or a contour or membrane channel, become fragments.

    Attributes:
        plane: whether each section is cut by itself, for sections thicker than voxels are wide; false: in 3D.
        boundary: how affinities become a boundary map: 1 - their 'mean' or 1 - the 'worst'.
        boundary_threshold: seeds lie where the boundary is below this.
        flood: from the seeds along 'affinities', or over the 'boundary' map. In a map the
            voxels on one side of a sharp boundary are its wall, and a wall may fall to the wrong
            side, which then joins the two: prefer it where predictions are smooth.
        seeds: the 'maxima' of the distance to the boundary, or its 'basins', the voxels that lead to the same maximum:
            faster, but objects are cut into fragments by their shape instead of by affinities.
        sigma_seeds: Gaussian smoothing of the distance whose maxima are seeds, voxels.
        sigma_weights: Gaussian smoothing of the boundary map that is flooded, voxels.
        boundary_weight: share of the boundary map in the map that is flooded; the rest is distance.
        min_fragment: voxels; smaller fragments are flooded by their neighbours. Along affinities, what no seed reaches
            without crossing a boundary is a fragment of its own where its voxels belong together for sure.
        foreground_threshold: voxels with less foreground are background; without a foreground
            channel, those whose highest nearest affinity is lower. 0: every voxel is labelled.
        long_range: whether long-range affinities count as evidence between fragments that touch.
            They shift all means, so thresholds have to be chosen anew.
    """

    fragments_of = "FragmentSettings"

    plane: bool = choice(True, (False, True))
    boundary: str = choice("worst", COMBINE, COMBINE)
    boundary_threshold: float = number(0.5, 0, 1)
    flood: str = choice("affinities", FLOODS)
    seeds: str = choice("maxima", SEEDS)
    sigma_seeds: float = number(1.0, 0, grid=(0.0, 1.0, 2.0))
    sigma_weights: float = number(0.0, 0)
    boundary_weight: float = number(1.0, 0, 1)
    min_fragment: int = number(0, 0)
    foreground_threshold: float = number(0.0, 0, 1)
    long_range: bool = choice(False, (False, True), later=True)


def has_boundary(names: Names, offsets: Offsets) -> bool:
    """Returns whether fragments can be made from these channels."""
    return has_nearest(offsets) or boundary_channel(names) is not None


def make_fragments(prediction: Prediction, settings: FragmentSettings) -> np.ndarray:
    """Makes fragments `[z, y, x]` uint64, ids 1..n, from affinities, or from a membrane or contour channel."""
    affinities = affinities_of(prediction)
    mask = foreground_mask(prediction, affinities, settings.foreground_threshold)
    near = affinities.nearest()
    name = boundary_channel(prediction.names)
    membrane = None if prediction.has_affinities or name is None else prediction.channel(name)
    axes = (1, 2) if settings.plane else (0, 1, 2)
    if membrane is not None and settings.flood == "boundary":
        # Affinities made from a membrane are not needed here.
        axes = ()

    def cut(part: slice | int, held: np.ndarray | None = None) -> np.ndarray:
        edges = [near.read(axis, part) for axis in axes]
        return watershed(
            affinity_boundary(edges, settings.boundary) if membrane is None else membrane[part],
            threshold=settings.boundary_threshold,
            seeds=settings.seeds,
            sigma_seeds=settings.sigma_seeds,
            sigma_weights=settings.sigma_weights,
            boundary_weight=settings.boundary_weight,
            min_size=settings.min_fragment,
            mask=None if mask is None else mask[part],
            edges=edges if settings.flood == "affinities" else None,
            held=held,
        )

    if not settings.plane:
        return cut(slice(None)).astype(np.uint64)
    # One section after the other, so that its data stay in the processor's cache.
    fragments = np.empty(prediction.shape, np.uint64)
    last = 0
    # Where a membrane is so low that it holds a voxel at the next section, a seed reaches the voxel in its own section.
    crossed = settings.flood == "affinities" and membrane is None
    nowhere = np.zeros(prediction.shape[1:], bool)
    before = nowhere
    for z, section in enumerate(fragments):
        held = None
        if crossed:
            after = near.read(0, z + 1) > _SURE if z + 1 < len(fragments) else nowhere
            held, before = before | after, after
        last = _append(cut(z, held), last, section)
    return fragments


def foreground_mask(
    prediction: Prediction, affinities: Affinities, threshold: float
) -> np.ndarray | None:
    """Returns which voxels belong to any object, `[z, y, x]` bool; None means all of them.

    Uses the foreground channel, or without one the highest nearest affinity to any neighbour.
    """
    if not threshold:
        return None
    if "foreground" in prediction.names:
        return prediction.channel("foreground") >= threshold
    best = np.zeros(prediction.shape, np.float32)
    chosen = affinities.nearest()
    for index, offset in enumerate(chosen.offsets):
        values = chosen[index]
        here, there = partners(offset, values.shape)
        np.maximum(best[here], values[here], out=best[here])
        np.maximum(best[there], values[here], out=best[there])
    return best >= threshold


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
    held: np.ndarray | None = None,
) -> np.ndarray:
    """Cuts a volume, or a section, into fragments by a distance-transform watershed.

    Seeds come from the distance to the nearest voxel with a boundary of `threshold` or more.

    Args:
        boundary: `[z, y, x]` or `[y, x]` float32 in [0, 1].
        threshold: boundary value from which on a voxel is boundary.
        seeds: the 'maxima' of the distance, or its 'basins': all voxels below `threshold` that lead to the same
            maximum by steepest ascent. Then only boundaries are left to flood, which is faster; where an object is cut
            into fragments is decided by its shape.
        sigma_seeds: Gaussian smoothing of the distance, voxels; more smoothing gives fewer seeds.
        sigma_weights: Gaussian smoothing of the boundary that is flooded, voxels.
        boundary_weight: 1 floods the boundary; less mixes in the inverted distance, which keeps
            fragments round where the boundary has gaps.
        min_size: voxels; smaller fragments lose their seed, and their neighbours flood them.
        mask: bool, of the same shape; False voxels stay 0. None labels every voxel that a seed can reach.
        edges: affinities to flood along instead of over the boundary map, see `affinity_boundary`;
            boundaries then lie between voxels, and `sigma_weights` and `boundary_weight` have no effect. What no seed
            reaches over affinities above 1 - `threshold`, such as an object that is one voxel wide, is not given to its
            neighbour, but is a fragment of its own: parts of two or more voxels (and of `min_size`) that affinities
            above 0.9 join, and those to all others are 0.1 or less.
        held: bool, of the same shape: voxels with an affinity above 0.9 to the next or the previous section. Those that
            belong to no other voxel of the section are fragments, too.

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
        return flood_affinities(
            edges,
            range(markers.ndim),
            markers,
            mask,
            depth=distance,
            floor=1 - threshold,
            sure=_SURE,
            smallest=max(min_size, _UNSEEDED),
            held=held if min_size <= 1 else None,
        )

    found = flood(markers)
    return flood(_keep_large(found, min_size)) if min_size > 1 else found


def _distance(inside: np.ndarray) -> np.ndarray:
    """Returns the distance to the nearest boundary voxel, finite even where there is none."""
    if inside.ndim == 2:
        return section_distance(inside)
    if inside.all():
        return np.ones(inside.shape, np.float32)
    return edt.edt(np.ascontiguousarray(inside), black_border=False, parallel=1)


def _seeds(distance: np.ndarray, kind: str, sigma: float, mask: np.ndarray | None) -> np.ndarray:
    """Returns the regional maxima of the distance, or the basins around them, uint32."""
    smoothed = smooth(distance, sigma) if sigma else distance
    # Between objects, the smoothed distance may have a maximum on the boundary itself.
    inside = distance > 0 if mask is None else (distance > 0) & mask
    return basins(smoothed, inside, tops=kind == "maxima")


def _surface(
    boundary: np.ndarray, distance: np.ndarray, sigma: float, boundary_weight: float
) -> np.ndarray:
    """Returns the map to flood, `alpha boundary + (1 - alpha) (1 - distance / max)`."""
    surface = smooth(boundary, sigma) if sigma else boundary
    if boundary_weight < 1:
        depth = distance / max(float(distance.max()), 1.0)
        surface = boundary_weight * surface + (1 - boundary_weight) * (1 - depth)
    return np.ascontiguousarray(surface, np.float32)


def _keep_large(fragments: np.ndarray, min_size: int) -> np.ndarray:
    """Returns the fragments of at least `min_size` voxels as markers, renumbered."""
    keep = np.bincount(fragments.ravel()) >= min_size
    keep[0] = False
    if not keep.any():
        return fragments
    lookup = np.where(keep, np.cumsum(keep), 0).astype(fragments.dtype)
    return lookup[fragments]


@compiled
def _append(found, last, section):
    """Writes the ids 1..n of a section as `last` + 1, ...; returns the new last id."""
    most = last
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            own = np.int64(found[y, x])
            section[y, x] = own + last if own > 0 else 0
            most = max(most, own + last)
    return most
