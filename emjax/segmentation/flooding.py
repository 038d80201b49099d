"""Flooding along affinities from markers, the strongest edges first: a watershed cut.

This is our own implementation, since libraries sort all edges, also those within markers; where markers cover most
voxels, sorting takes nearly all of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from emjax.compiled import compiled

# Affinities are rounded to this many levels, as in a stored prediction; of equal ones, the nearest marker comes first.
_LEVELS = 255
_OUTSIDE = -1


def flood_affinities(
    affinities: Sequence[np.ndarray],
    axes: Sequence[int],
    markers: np.ndarray,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Gives each voxel to the marker that reaches it over the path whose weakest affinity is the strongest.

    Args:
        affinities: one array of the shape of `markers` for each axis, float in [0, 1]: between a voxel and the voxel
            before it along that axis. They are rounded to 1/255.
        axes: the axis of each array. Voxels are connected along these axes only; separate parts are flooded apart.
        markers: integers, 2D or 3D, 0 = none.
        mask: bool; False voxels stay 0, even at a marker.

    Returns:
        uint32; 0 where no marker reaches.

    Source: watershed cuts, Cousty et al., IEEE TPAMI 31 (2009), doi:10.1109/TPAMI.2008.173.
    """
    # A rim that is never flooded saves a check of the position of each voxel.
    inner = (slice(1, -1),) * markers.ndim
    padded = tuple(n + 2 for n in markers.shape)
    labels = np.full(padded, _OUTSIDE, np.int32)
    labels[inner] = markers
    if mask is not None:
        labels[inner][~mask] = _OUTSIDE
    levels = np.empty((len(axes), *padded), np.uint8)
    for i, affinity in enumerate(affinities):
        np.rint(affinity * np.float32(_LEVELS), out=levels[i][inner], casting="unsafe")
    strides = np.array([labels.strides[axis] // labels.itemsize for axis in axes])
    _flood(levels.reshape(len(axes), -1), strides, labels.reshape(-1))
    return np.maximum(labels[inner], 0).astype(np.uint32)


@compiled
def _flood(levels, strides, labels):
    """Floods in place: each level has a first-in, first-out list of voxels; a voxel is in the list of its best edge."""
    # The removal of a voxel from its list is written out twice: as a function of its own it made numba count references
    # to the arrays at each call, and flooding took seven times as long.
    after = np.empty(labels.size, np.int32)
    before = np.empty(labels.size, np.int32)
    marker = np.empty(labels.size, np.int32)
    # One more than the level of the best edge so far; 0: no edge yet.
    best = np.zeros(labels.size, np.int16)
    first = np.full(_LEVELS + 2, -1, np.int32)
    last = np.full(_LEVELS + 2, -1, np.int32)
    highest = 0
    for voxel in range(labels.size):
        if labels[voxel] > 0:
            highest = _reach(
                voxel, levels, strides, labels, after, before, marker, best, first, last, highest
            )
    while highest > 0:
        voxel = first[highest]
        if voxel < 0:
            highest -= 1
            continue
        first[highest] = after[voxel]
        if after[voxel] < 0:
            last[highest] = -1
        else:
            before[after[voxel]] = -1
        labels[voxel] = marker[voxel]
        highest = _reach(
            voxel, levels, strides, labels, after, before, marker, best, first, last, highest
        )


@partial(compiled, inline="always")
def _reach(voxel, levels, strides, labels, after, before, marker, best, first, last, highest):
    """Adds the neighbours of a labelled voxel to the lists of the edges to them; returns the highest level."""
    for side in range(2 * len(strides)):
        stride = strides[side >> 1]
        # An edge is stored with the later of its two voxels.
        neighbour = voxel + stride if side & 1 else voxel - stride
        if labels[neighbour] != 0:
            continue
        level = np.int16(levels[side >> 1, neighbour if side & 1 else voxel]) + np.int16(1)
        known = best[neighbour]
        if level <= known:
            continue
        if known > 0:
            ahead, behind = before[neighbour], after[neighbour]
            if ahead < 0:
                first[known] = behind
            else:
                after[ahead] = behind
            if behind < 0:
                last[known] = ahead
            else:
                before[behind] = ahead
        best[neighbour] = level
        marker[neighbour] = labels[voxel]
        end = last[level]
        after[neighbour] = -1
        before[neighbour] = end
        if end < 0:
            first[level] = neighbour
        else:
            after[end] = neighbour
        last[level] = neighbour
        if level > highest:
            highest = level
    return highest
