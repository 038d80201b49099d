"""Flooding along affinities from markers, the strongest edges first: a watershed cut.

This is our own implementation, since libraries sort all edges, also those within markers; where markers cover most
voxels, sorting takes nearly all of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from emjax.compiled import compiled

# Affinities are rounded to this many levels, as in a stored prediction.
_LEVELS = 255
# Labels of voxels without one: those that are never flooded, and, by depth, those that wait: _WAITING - depth.
_OUTSIDE = -1
_WAITING = -2
# Of the highest level, deeper voxels are flooded first; depths from this one on count alike.
_DEEP = 2


def flood_affinities(
    affinities: Sequence[np.ndarray],
    axes: Sequence[int],
    markers: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    depth: np.ndarray | None = None,
    floor: float | None = None,
    sure: float = 0.9,
    smallest: int = 1,
    held: np.ndarray | None = None,
) -> np.ndarray:
    """Gives each voxel to the marker that reaches it over the path whose weakest affinity is the strongest.

    Of equally strong paths, the one from the nearest marker counts.

    Args:
        affinities: one array of the shape of `markers` for each axis, float in [0, 1]: between a voxel and the voxel
            before it along that axis. They are rounded to 1/255.
        axes: the axis of each array. Voxels are connected along these axes only; separate parts are flooded apart.
        markers: integers, 2D or 3D, 0 = none.
        mask: bool; False voxels stay 0, even at a marker.
        depth: of the shape of `markers`, distance to the nearest boundary, voxels. Over affinities of 1, voxels of a
            depth of 2 or more are reached before those of 1, and these before those of 0. So one wrong affinity of 1
            at the border of two objects lets the marker of one of them take hardly any voxels of the other: its own
            marker was there before. None: all depths are alike.
        floor: affinity in [0, 1]. Of the voxels that no marker reaches over affinities above it, those that affinities
            above `sure` join to each other, and affinities of 1 - `sure` or less to all others, become a marker of
            their own, numbered after the given ones. None: there are no more markers.
        sure: affinity in [0, 1], at least the floor.
        smallest: voxels; fewer become no marker, but are flooded by their neighbours.
        held: bool, of the shape of `markers`: voxels that belong for sure to a voxel outside, such as one of the next
            section. Fewer than `smallest` are a marker with one of them, too, where there are other markers.

    Returns:
        uint32; 0 where no marker reaches.

    Source: watershed cuts, Cousty et al., IEEE TPAMI 31 (2009), doi:10.1109/TPAMI.2008.173. The order by depth and the
    additional markers are ours.
    """
    # A section is one layer. A rim that is never flooded saves a check of the position of each voxel.
    layers = (1,) * (3 - markers.ndim) + markers.shape
    rim = int(markers.ndim == 3)
    labels = np.full((layers[0] + 2 * rim, layers[1] + 2, layers[2] + 2), _OUTSIDE, np.int32)
    levels = np.empty((len(axes), *labels.shape), np.uint8)
    nothing = np.zeros((0, 0, 0), bool)
    count = _fill_labels(
        np.ascontiguousarray(markers).reshape(layers),
        nothing if mask is None else mask.reshape(layers),
        np.zeros((0, 0, 0), np.float32) if depth is None else depth.reshape(layers),
        rim,
        labels,
    )
    for level, affinity in zip(levels, affinities, strict=True):
        _fill_levels(np.ascontiguousarray(affinity).reshape(layers), rim, level)
    holds = np.zeros(labels.shape if held is not None else 0, bool)
    if held is not None:
        holds[0, 1:-1, 1:-1] = held
    strides = np.array(
        [labels.strides[axis + 3 - markers.ndim] // labels.itemsize for axis in axes]
    )
    _flood(
        levels.reshape(len(axes), -1),
        strides,
        labels.reshape(-1),
        count,
        -1 if floor is None else int(floor * _LEVELS),
        int(sure * _LEVELS),
        smallest,
        holds.reshape(-1),
    )
    inner = labels[rim : rim + layers[0], 1:-1, 1:-1]
    return np.maximum(inner, 0).astype(np.uint32).reshape(markers.shape)


@compiled
def _fill_labels(markers, mask, depth, rim, labels):
    """Writes markers, and the depth of all other voxels of the mask, within the rim; returns the highest marker."""
    highest = 0
    for z in range(markers.shape[0]):
        for y in range(markers.shape[1]):
            row = labels[z + rim, y + 1]
            for x in range(markers.shape[2]):
                if mask.size and not mask[z, y, x]:
                    continue
                label = np.int32(markers[z, y, x])
                highest = max(highest, label)
                if label == 0:
                    label = np.int32(_WAITING)
                    if depth.size:
                        label -= np.int32(min(depth[z, y, x], _DEEP))
                row[x + 1] = label
    return highest


@compiled
def _fill_levels(values, rim, levels):
    """Writes affinities, rounded to levels, within the rim."""
    scale = np.float32(_LEVELS)
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            row = levels[z + rim, y + 1]
            for x in range(values.shape[2]):
                row[x + 1] = np.uint8(np.rint(values[z, y, x] * scale))


@compiled
def _flood(levels, strides, labels, count, floor, sure, smallest, holds):
    """Floods in place: each level has a first-in, first-out list of voxels; a voxel is in the list of its best edge."""
    # The removal of a voxel from its list is written out twice: as a function of its own it made numba count references
    # to the arrays at each call, and flooding took seven times as long.
    after = np.empty(labels.size, np.int32)
    before = np.empty(labels.size, np.int32)
    marker = np.empty(labels.size, np.int32)
    # One more than the level of the best edge so far, and of the highest level the depth is added; 0: no edge yet.
    best = np.zeros(labels.size, np.int16)
    first = np.full(_LEVELS + _DEEP + 2, -1, np.int32)
    last = np.full(_LEVELS + _DEEP + 2, -1, np.int32)
    highest = 0
    for voxel in range(labels.size):
        if labels[voxel] > 0:
            highest = _reach(
                voxel,
                levels,
                strides,
                labels,
                after,
                before,
                marker,
                best,
                first,
                last,
                highest,
            )
    # Levels down to this one, then all others.
    lowest = floor + 1 if floor >= 0 else 0
    while highest > lowest or lowest > 0:
        if highest <= lowest:
            lowest = 0
            added = _add_markers(levels, strides, labels, count, sure, smallest, holds)
            highest = _reach_all(
                added, levels, strides, labels, after, before, marker, best, first, last, highest
            )
            continue
        voxel = first[highest]
        if voxel < 0:
            highest -= 1
            continue
        first[highest] = after[voxel]
        if after[voxel] < 0:
            last[highest] = -1
        else:
            before[after[voxel]] = -1
        if labels[voxel] > 0:
            # It became a marker while it was in the list.
            continue
        labels[voxel] = marker[voxel]
        highest = _reach(
            voxel,
            levels,
            strides,
            labels,
            after,
            before,
            marker,
            best,
            first,
            last,
            highest,
        )


@compiled
def _add_markers(levels, strides, labels, count, sure, smallest, holds):
    """Labels the parts of unlabelled voxels over levels above `sure` that become markers; returns their voxels."""
    given = count > 0 and holds.size > 0
    seen = np.zeros(labels.size, np.bool_)
    found = np.empty(labels.size, np.int32)
    total = 0
    for start in range(labels.size):
        if labels[start] > _WAITING or seen[start]:
            continue
        seen[start] = True
        found[total] = start
        end, done, apart = total + 1, total, True
        while done < end:
            voxel = found[done]
            done += 1
            for side in range(2 * len(strides)):
                stride = strides[side >> 1]
                neighbour = voxel + stride if side & 1 else voxel - stride
                if labels[neighbour] == _OUTSIDE:
                    continue
                level = levels[side >> 1, neighbour if side & 1 else voxel]
                if level <= sure:
                    apart = apart and level <= _LEVELS - sure
                elif labels[neighbour] <= _WAITING and not seen[neighbour]:
                    seen[neighbour] = True
                    found[end] = neighbour
                    end += 1
        kept = apart and end - total >= smallest
        if apart and not kept and given:
            for i in range(total, end):
                kept = kept or holds[found[i]]
        if kept:
            count += 1
            for i in range(total, end):
                labels[found[i]] = count
            total = end
    return found[:total]


@compiled
def _reach_all(voxels, levels, strides, labels, after, before, marker, best, first, last, highest):
    """The same as `_reach` for several voxels; in `_flood`, a third copy of it would slow down the other two."""
    for voxel in voxels:
        highest = _reach(
            voxel, levels, strides, labels, after, before, marker, best, first, last, highest
        )
    return highest


@partial(compiled, inline="always")
def _reach(voxel, levels, strides, labels, after, before, marker, best, first, last, highest):
    """Adds the neighbours of a labelled voxel to the lists of the edges to them; returns the highest level."""
    for side in range(2 * len(strides)):
        stride = strides[side >> 1]
        # An edge is stored with the later of its two voxels.
        neighbour = voxel + stride if side & 1 else voxel - stride
        waiting = labels[neighbour]
        if waiting > _WAITING:
            continue
        level = np.int16(levels[side >> 1, neighbour if side & 1 else voxel]) + np.int16(1)
        if level > _LEVELS:
            level += np.int16(_WAITING - waiting)
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
