"""Fast marching: when a front that starts at a root, and is fast in the middle of neurites, arrives at each voxel."""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled
from emjax.tracing.heap import pop, push
from emjax.tracing.stack import FULL, Stack

# Speed in voxels that are no neurite, a gap, relative to one of depth 1 and full evidence.
_GAP_SPEED = 0.02
# Depth from which on the middle of a neurite is no better: thick ones need not be walked in the very middle.
_DEEP = 8.0


class Marcher:
    """Marches through a stack from one root after another; what was reached once is not reached again.

    Attributes:
        times: `[z, y, x]` float32, arrival times; infinite where no front came.
    """

    def __init__(self, stack: Stack, gap: float) -> None:
        """Prepares arrays.

        Args:
            stack: what is traced.
            gap: longest way outside of neurite, in voxels of the shortest side.
        """
        self._stack = stack
        self._domain = stack.near(gap / 2)
        self.times = np.full(stack.size, np.inf, np.float32)
        self._done = np.zeros(stack.size, bool)

    def march(self, root: tuple[int, ...]) -> np.ndarray:
        """Sends a front from a voxel.

        Args:
            root: (z, y, x) voxel, which no front reached.

        Returns:
            `[n]` int64, the voxels of neurite that it reached, in the order of its arrival, as indices into the flat
            stack.

        Source: Sethian, "A fast marching level set method for monotonically advancing fronts",
        doi:10.1073/pnas.93.4.1591; speeds from depth as in Liu et al., "Rivulet: 3D neuron morphology tracing with
        iterative back-tracking", doi:10.1007/s12021-016-9302-0, and from the image.
        """
        start = int(np.ravel_multi_index(root, self._stack.size))
        stack = self._stack
        return _march(
            self.times.reshape(-1),
            self._done.reshape(-1),
            self._domain.reshape(-1),
            stack.mask.reshape(-1),
            stack.depth.reshape(-1),
            stack.evidence.reshape(-1),
            np.asarray(stack.size),
            np.asarray(stack.spacing, np.float64),
            start,
        )


@compiled
def _slowness(depth: float, evidence: int, inside: bool) -> float:
    """Returns the time that the front takes for a length of 1 in a voxel."""
    if not inside:
        # Through a gap, rather where the image is a little brighter.
        return 1 / (_GAP_SPEED * (0.5 + evidence / FULL))
    share = (0.5 + min(depth, _DEEP)) * evidence / FULL
    return 1 / max(share * share, 2 * _GAP_SPEED)


@compiled
def _march(
    times: np.ndarray,
    done: np.ndarray,
    domain: np.ndarray,
    mask: np.ndarray,
    depth: np.ndarray,
    evidence: np.ndarray,
    size: np.ndarray,
    spacing: np.ndarray,
    start: int,
) -> np.ndarray:
    """See `Marcher.march`; volumes are flat."""
    height, width, deep = size[1], size[2], size[0]
    strides = np.array([height * width, width, 1])
    keys, places = np.empty(1024, np.float32), np.empty(1024, np.int64)
    reached, number = np.empty(1024, np.int64), 0
    times[start] = 0
    count = push(keys, places, 0, np.float32(0), start)
    near, steps = np.empty(3), np.empty(3)
    while count:
        place = places[0]
        count = pop(keys, places, count)
        # A place may be in the heap several times: its first arrival counts.
        if done[place]:
            continue
        done[place] = True
        if mask[place]:
            if number == len(reached):
                more = np.empty(2 * number, np.int64)
                more[:number] = reached
                reached = more
            reached[number] = place
            number += 1
        z = place // strides[0]
        y = (place - z * strides[0]) // width
        x = place - z * strides[0] - y * width
        for direction in range(6):
            axis, forward = direction >> 1, direction & 1
            at = z if axis == 0 else (y if axis == 1 else x)
            most = deep if axis == 0 else (height if axis == 1 else width)
            at += 1 if forward else -1
            if at < 0 or at >= most:
                continue
            other = place + (strides[axis] if forward else -strides[axis])
            if done[other] or not domain[other]:
                continue
            oz = at if axis == 0 else z
            oy = at if axis == 1 else y
            ox = at if axis == 2 else x
            # The earlier neighbour along each axis.
            known = 0
            for a in range(3):
                here = oz if a == 0 else (oy if a == 1 else ox)
                last = (deep if a == 0 else (height if a == 1 else width)) - 1
                best = np.inf
                if here > 0 and done[other - strides[a]]:
                    best = times[other - strides[a]]
                if here < last and done[other + strides[a]]:
                    best = min(best, times[other + strides[a]])
                if best < np.inf:
                    # In the order of their times.
                    i = known
                    while i > 0 and near[i - 1] > best:
                        near[i], steps[i] = near[i - 1], steps[i - 1]
                        i -= 1
                    near[i], steps[i] = best, spacing[a]
                    known += 1
            slow = _slowness(depth[other], evidence[other], mask[other])
            time = np.float32(_arrival(near, steps, known, slow))
            if time < times[other]:
                times[other] = time
                if count == len(keys):
                    more_keys, more_places = (
                        np.empty(2 * count, np.float32),
                        np.empty(2 * count, np.int64),
                    )
                    more_keys[:count], more_places[:count] = keys, places
                    keys, places = more_keys, more_places
                count = push(keys, places, count, time, other)
    return reached[:number]


@compiled
def _arrival(near: np.ndarray, steps: np.ndarray, known: int, slow: float) -> float:
    """Solves the upwind equation: sum of ((t - near) / step)^2 = slow^2, over the neighbours that come before t."""
    time = near[0] + slow * steps[0]
    a = b = c = 0.0
    for i in range(known):
        if i and time <= near[i]:
            break
        weight = 1 / (steps[i] * steps[i])
        a += weight
        b += weight * near[i]
        c += weight * near[i] * near[i]
        inside = b * b - a * (c - slow * slow)
        if inside < 0:
            break
        time = (b + np.sqrt(inside)) / a
    return time
