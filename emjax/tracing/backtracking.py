"""Paths from the ends of neurites down the arrival times of a front, each to the root or to an earlier path."""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.compiled import compiled
from emjax.skeletons.skeleton import Skeleton
from emjax.tracing.stack import Stack

# Length of a step, in voxels of the shortest side.
_STEP = 0.5
# Of what no path is near yet, and of what a rejected path went through.
FREE, REJECTED = -1, -2
# A path that is so near to the rim of another's neurite is in it.
_JOINED = 0.5
# Least radius of a point.
_THIN = 0.5


@dataclasses.dataclass(frozen=True)
class Coverage:
    """When a neurite counts as traced.

    Attributes:
        scale: of the radius, and
        constant: added to it: voxels of neurite that are so near to a path are covered by it.
        share: share of the voxels that a front reached after which no further path begins.
        confidence: least share of a path that runs in neurite, else it is rejected.
    """

    scale: float = 1.5
    constant: float = 2.0
    share: float = 0.98
    confidence: float = 0.5


def track_back(
    stack: Stack,
    times: np.ndarray,
    reached: np.ndarray,
    root: tuple[int, ...],
    coverage: Coverage,
    owners: np.ndarray,
) -> Skeleton:
    """Makes a tree of what a front reached: again and again a path from the last voxel that no path covers.

    A path goes down the gradient of the arrival times between voxels (by the midpoint rule; to the earliest neighbour
    where that leads nowhere) until it is in the neurite of an earlier path, and is joined to the nearest point of that.

    Args:
        stack: what is traced.
        times: `[z, y, x]` float32, as the front left them.
        reached: `[n]` int64, voxels of neurite in the order of arrival, as flat indices.
        root: (z, y, x) voxel where the front began.
        coverage: when it is done.
        owners: `[z, y, x]` int32, `FREE` wherever the front came; changed: which point covers each voxel.

    Returns:
        A tree in the unit of the spacing, its root first; 0 is the centre of the first voxel.

    Source: the approach of Liu et al., "Automated 3-D neuron tracing with precise branch erasing and confidence
    controlled back tracking", doi:10.1109/TMI.2018.2833420.
    """
    points, parents = _track(
        times,
        owners,
        stack.mask,
        stack.depth,
        reached,
        np.asarray(root, np.int64),
        np.asarray(stack.spacing, np.float64),
        tuple(map(float, dataclasses.astuple(coverage))),
    )
    return Skeleton(points[:, :3].copy(), parents, points[:, 3].copy())


@compiled
def _track(
    times: np.ndarray,
    owners: np.ndarray,
    mask: np.ndarray,
    depth: np.ndarray,
    reached: np.ndarray,
    root: np.ndarray,
    spacing: np.ndarray,
    coverage: tuple[float, float, float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """See `track_back`; returns points `[n, 4]` with their radii, and parents `[n]`."""
    scale, constant, share, confidence = coverage
    height, width = times.shape[1], times.shape[2]
    points, parents = np.empty((256, 4)), np.empty(256, np.int64)
    for a in range(3):
        points[0, a] = root[a] * spacing[a]
    points[0, 3] = max(_THIN, depth[root[0], root[1], root[2]])
    parents[0] = -1
    number = 1
    # No more than its own neurite, so that a root near an end leaves the end to a path.
    left = len(reached) - _cover(points[0], 0, owners, mask, times, spacing, 1.0, constant)
    path = np.empty((256, 4))
    for i in range(len(reached) - 1, -1, -1):
        if left <= (1 - share) * len(reached):
            break
        place = reached[i]
        z = place // (height * width)
        y = (place - z * height * width) // width
        x = place - z * height * width - y * width
        if owners[z, y, x] != FREE:
            continue
        path[0, 0], path[0, 1], path[0, 2] = z * spacing[0], y * spacing[1], x * spacing[2]
        length, inside, owner = 1, 0, np.int64(FREE)
        while True:
            if length + 1 >= len(path):
                longer = np.empty((2 * len(path), 4))
                longer[: len(path)] = path
                path = longer
            here = path[length - 1]
            z, y, x = _voxel(here, spacing, times.shape)
            here[3] = max(_THIN, depth[z, y, x])
            inside += mask[z, y, x]
            if owners[z, y, x] >= 0:
                # Covered by an earlier path; on to where both are in one neurite.
                near = _nearest(points, number, owners[z, y, x], here)
                if _distance(points[near], here) <= points[near, 3] + _JOINED:
                    owner = near
                    break
            if not _descend(here, times, spacing, path[length]):
                break
            length += 1
        if owner >= 0 and inside >= confidence * length:
            parent = owner
            # From there to the end of the neurite.
            for j in range(length - 1, -1, -1):
                # Every second step, and the end itself.
                if j % 2 and j != length - 1:
                    continue
                if number == len(points):
                    more, more_parents = np.empty((2 * number, 4)), np.empty(2 * number, np.int64)
                    more[:number], more_parents[:number] = points, parents
                    points, parents = more, more_parents
                points[number], parents[number] = path[j], parent
                parent = number
                number += 1
                left -= _cover(path[j], parent, owners, mask, times, spacing, scale, constant)
        else:
            for j in range(length):
                left -= _cover(path[j], REJECTED, owners, mask, times, spacing, scale, constant)
    return points[:number], parents[:number]


@compiled
def _voxel(
    point: np.ndarray, spacing: np.ndarray, shape: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Returns the voxel that a point lies in."""
    z = min(max(int(np.rint(point[0] / spacing[0])), 0), shape[0] - 1)
    y = min(max(int(np.rint(point[1] / spacing[1])), 0), shape[1] - 1)
    x = min(max(int(np.rint(point[2] / spacing[2])), 0), shape[2] - 1)
    return z, y, x


@compiled
def _time(times: np.ndarray, z: float, y: float, x: float) -> float:
    """Returns the arrival time between voxels, of those corners that were reached; infinite if none was."""
    z0, y0, x0 = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
    total = weights = 0.0
    for dz in range(2):
        for dy in range(2):
            for dx in range(2):
                a, b, c = z0 + dz, y0 + dy, x0 + dx
                if a < 0 or b < 0 or c < 0:
                    continue
                if a >= times.shape[0] or b >= times.shape[1] or c >= times.shape[2]:
                    continue
                weight = (1 - abs(z - a)) * (1 - abs(y - b)) * (1 - abs(x - c))
                if weight > 0 and times[a, b, c] < np.inf:
                    total += weight * times[a, b, c]
                    weights += weight
    return total / weights if weights > 1e-9 else np.inf


@compiled
def _slope(times: np.ndarray, point: np.ndarray, spacing: np.ndarray, slope: np.ndarray) -> bool:
    """Computes the direction in which times fall, of length 1; returns whether there is one."""
    z, y, x = point[0] / spacing[0], point[1] / spacing[1], point[2] / spacing[2]
    here = _time(times, z, y, x)
    total = 0.0
    for a in range(3):
        dz, dy, dx = 0.5 * (a == 0), 0.5 * (a == 1), 0.5 * (a == 2)
        before, after = _time(times, z - dz, y - dy, x - dx), _time(times, z + dz, y + dy, x + dx)
        # On the side where no front came, the wall, times are taken as here.
        before, after = (before if before < np.inf else here), (after if after < np.inf else here)
        slope[a] = (before - after) / spacing[a]
        total += slope[a] * slope[a]
    if not total > 0:
        return False
    for a in range(3):
        slope[a] /= np.sqrt(total)
    return True


@compiled
def _descend(here: np.ndarray, times: np.ndarray, spacing: np.ndarray, there: np.ndarray) -> bool:
    """Makes one step down; returns whether there is any."""
    time = _time(times, here[0] / spacing[0], here[1] / spacing[1], here[2] / spacing[2])
    slope = np.empty(3)
    if _slope(times, here, spacing, slope):
        for a in range(3):
            there[a] = here[a] + _STEP / 2 * slope[a]
        if _slope(times, there, spacing, slope):
            for a in range(3):
                there[a] = here[a] + _STEP * slope[a]
            z, y, x = there[0] / spacing[0], there[1] / spacing[1], there[2] / spacing[2]
            voxel = _voxel(there, spacing, times.shape)
            if _time(times, z, y, x) < time and times[voxel[0], voxel[1], voxel[2]] < np.inf:
                return True
    # To the earliest neighbour.
    z, y, x = _voxel(here, spacing, times.shape)
    best, found = min(time, np.float64(times[z, y, x]) + 1e-6), False
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                a, b, c = z + dz, y + dy, x + dx
                if a < 0 or b < 0 or c < 0:
                    continue
                if a >= times.shape[0] or b >= times.shape[1] or c >= times.shape[2]:
                    continue
                if times[a, b, c] < best:
                    best, found = np.float64(times[a, b, c]), True
                    there[0], there[1], there[2] = a * spacing[0], b * spacing[1], c * spacing[2]
    return found


@compiled
def _cover(
    point: np.ndarray,
    owner: int,
    owners: np.ndarray,
    mask: np.ndarray,
    times: np.ndarray,
    spacing: np.ndarray,
    scale: float,
    constant: float,
) -> int:
    """Marks what is near a point and was reached; returns how many voxels of neurite were free before."""
    radius = scale * point[3] + constant
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for a in range(3):
        low[a] = max(0, int(np.ceil((point[a] - radius) / spacing[a])))
        high[a] = min(owners.shape[a], int(np.floor((point[a] + radius) / spacing[a])) + 1)
    covered = 0
    for z in range(low[0], high[0]):
        for y in range(low[1], high[1]):
            for x in range(low[2], high[2]):
                if owners[z, y, x] >= 0 or times[z, y, x] == np.inf:
                    continue
                dz, dy, dx = (
                    z * spacing[0] - point[0],
                    y * spacing[1] - point[1],
                    x * spacing[2] - point[2],
                )
                if dz * dz + dy * dy + dx * dx <= radius * radius:
                    if owners[z, y, x] == FREE and mask[z, y, x]:
                        covered += 1
                    owners[z, y, x] = owner
    return covered


@compiled
def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the distance of two points."""
    z, y, x = one[0] - other[0], one[1] - other[1], one[2] - other[2]
    return np.sqrt(z * z + y * y + x * x)


@compiled
def _nearest(points: np.ndarray, number: int, owner: int, point: np.ndarray) -> int:
    """Returns the point near the owner, along its path, that is nearest to another point."""
    reach = int(2 * points[owner, 3]) + 4
    best, found = np.inf, owner
    for i in range(max(0, owner - reach), min(number, owner + reach + 1)):
        distance = _distance(points[i], point)
        if distance < best:
            best, found = distance, i
    return found
