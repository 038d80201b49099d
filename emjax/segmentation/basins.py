"""Basins of a map: the voxels from which steepest ascent leads to the same maximum, found without a queue."""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled
from emjax.segmentation.union_find import root_of


def section_distance(inside: np.ndarray) -> np.ndarray:
    """Returns the distance of each voxel to the nearest False voxel of a section.

    Args:
        inside: `[y, x]` bool.

    Returns:
        `[y, x]` float32, voxels, exact; where no voxel is False, one more than the sum of the sides.

    Source: Meijster et al., A general algorithm for computing distance transforms in linear time (2000). The `edt`
    package gives the same, and takes three times as long for sections of some hundred voxels a side.
    """
    distance = np.empty(inside.shape, np.float32)
    _section_distance(inside, distance)
    return distance


def basins(heights: np.ndarray, inside: np.ndarray, *, tops: bool = False) -> np.ndarray:
    """Labels each voxel by the maximum that steepest ascent leads to: to the highest neighbour until none is higher.

    Args:
        heights: `[y, x]` or `[z, y, x]` float32. Neighbours are the 8 or 26 around a voxel.
        inside: bool, of the same shape; False voxels are 0, and so are voxels that lead to a maximum among them.
        tops: whether to label the maxima only.

    Returns:
        uint32, 1..n in the order of their first voxels. A plateau without a higher neighbour is one maximum; a plateau
        with higher neighbours leads to one of them, as a whole.
    """
    solid = heights if heights.ndim == 3 else heights[None]
    labels = np.zeros(solid.shape, np.uint32)
    _basins(
        np.ascontiguousarray(solid, np.float32),
        np.ascontiguousarray(inside).reshape(-1),
        tops,
        labels.reshape(-1),
    )
    return labels.reshape(heights.shape)


@compiled
def _section_distance(inside, distance):
    height, width = inside.shape
    # Further than any real distance; its square still fits.
    far = np.int32(height + width + 1)
    steps = np.empty((height, width), np.int32)
    for x in range(width):
        steps[0, x] = far if inside[0, x] else 0
    for y in range(1, height):
        for x in range(width):
            steps[y, x] = min(steps[y - 1, x] + 1, far) if inside[y, x] else 0
    for y in range(height - 2, -1, -1):
        for x in range(width):
            steps[y, x] = min(steps[y, x], steps[y + 1, x] + 1)
    # Along a row: the lower envelope of a parabola over each voxel.
    squares = np.empty(width, np.int64)
    tops, starts = np.empty(width, np.int64), np.empty(width, np.int64)
    for y in range(height):
        for x in range(width):
            squares[x] = np.int64(steps[y, x]) * steps[y, x]
        last = 0
        tops[0] = starts[0] = 0
        for x in range(1, width):
            while last >= 0:
                old, new = starts[last] - tops[last], starts[last] - x
                if old * old + squares[tops[last]] <= new * new + squares[x]:
                    break
                last -= 1
            if last < 0:
                last = 0
                tops[0], starts[0] = x, 0
                continue
            top = tops[last]
            start = 1 + (x * x - top * top + squares[x] - squares[top]) // (2 * (x - top))
            if start < width:
                last += 1
                tops[last], starts[last] = x, start
        for x in range(width - 1, -1, -1):
            away = x - tops[last]
            found = away * away + squares[tops[last]]
            distance[y, x] = np.sqrt(np.float32(min(found, np.int64(far) * far)))
            if x == starts[last]:
                last -= 1


@compiled
def _highest_neighbours(heights, up):
    """Writes the index of each voxel's highest neighbour, or its own, to `up`; by whole rows, without branches."""
    depth, height, width = heights.shape
    best, place = np.empty(width, np.float32), np.empty(width, np.int32)
    for z in range(depth):
        for y in range(height):
            here = (z * height + y) * width
            for x in range(width):
                best[x] = heights[z, y, x]
                place[x] = here + x
            for k in range(max(z - 1, 0), min(z + 2, depth)):
                for j in range(max(y - 1, 0), min(y + 2, height)):
                    row = heights[k, j]
                    there = (k * height + j) * width
                    for x in range(width - 1):
                        higher = row[x + 1] > best[x]
                        place[x] = there + x + 1 if higher else place[x]
                        best[x] = row[x + 1] if higher else best[x]
                    for x in range(1, width):
                        higher = row[x - 1] > best[x]
                        place[x] = there + x - 1 if higher else place[x]
                        best[x] = row[x - 1] if higher else best[x]
                    for x in range(width):
                        higher = row[x] > best[x]
                        place[x] = there + x if higher else place[x]
                        best[x] = row[x] if higher else best[x]
            up[here : here + width] = place


@compiled
def _join_plateaus(heights, up):
    """Makes each plateau lead to one of its voxels, and that one to what is higher than the plateau, if anything is."""
    depth, height, width = heights.shape
    plateau = np.arange(up.size).astype(np.int32)
    joined = False
    for voxel in range(up.size):
        if up[voxel] != voxel:
            continue
        z, y, x = voxel // (height * width), voxel // width % height, voxel % width
        for k in range(max(z - 1, 0), min(z + 2, depth)):
            for j in range(max(y - 1, 0), min(y + 2, height)):
                for i in range(max(x - 1, 0), min(x + 2, width)):
                    if heights[k, j, i] != heights[z, y, x]:
                        continue
                    one = root_of(plateau, voxel)
                    other = root_of(plateau, (k * height + j) * width + i)
                    if one != other:
                        plateau[max(one, other)] = min(one, other)
                        joined = True
    if not joined:
        return
    for voxel in range(up.size):
        first = root_of(plateau, voxel)
        if up[voxel] != voxel and up[first] == first:
            up[first] = up[voxel]
    for voxel in range(up.size):
        if up[voxel] == voxel:
            up[voxel] = plateau[voxel]


@compiled
def _basins(heights, inside, tops, labels):
    up = np.empty(heights.size, np.int32)
    _highest_neighbours(heights, up)
    _join_plateaus(heights, up)
    # Basin of each voxel on a path that was followed; -1: the path leads to a maximum outside.
    basin = np.zeros(heights.size, np.int32)
    count = 0
    level = heights.ravel()
    peaks = np.empty(heights.size + 1, np.float32)
    for voxel in range(heights.size):
        if not inside[voxel]:
            continue
        top = voxel
        while basin[top] == 0 and up[top] != top:
            top = up[top]
        if basin[top] == 0:
            if inside[top]:
                count += 1
                peaks[count] = level[top]
            basin[top] = count if inside[top] else -1
        found = basin[top]
        step = voxel
        while basin[step] == 0:
            basin[step] = found
            step = up[step]
        # A voxel as high as its maximum is part of that maximum.
        if found > 0 and not (tops and level[voxel] < peaks[found]):
            labels[voxel] = found
