"""Changes trees: other points along the same branches, smoother ones, without short branches, or with trees joined."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial import KDTree

from emjax.skeletons.branches import along, is_key, sections
from emjax.skeletons.skeleton import Skeleton

# The last part of a branch that is straightened, and the part before it that says its direction, in radii.
_NEAR, _FAR = 1.5, 4.0


def resample(skeleton: Skeleton, step: float) -> Skeleton:
    """Returns the same branches with points at equal distances along each; roots, branch points and tips stay.

    Args:
        skeleton: one or more trees.
        step: longest distance between points, in the skeleton's unit, above 0.
    """
    key = is_key(skeleton)
    kept = np.flatnonzero(key)
    number = np.full(len(skeleton), -1, np.int64)
    number[kept] = np.arange(len(kept))
    positions, radii, types = (
        [part[kept]] for part in (skeleton.positions, skeleton.radii, skeleton.types)
    )
    parents = [np.full(len(kept), -1, np.int64)]
    count = len(kept)
    for path in sections(skeleton):
        at = along(skeleton.positions[path])
        # A point more for the last part of a step, but not for the rounding of a sum.
        inner = max(0, int(np.ceil(at[-1] / step - 1e-9)) - 1)
        wanted = at[-1] * np.arange(1, inner + 1) / (inner + 1)
        positions.append(
            np.stack([np.interp(wanted, at, axis) for axis in skeleton.positions[path].T], axis=1)
        )
        radii.append(np.interp(wanted, at, skeleton.radii[path]))
        types.append(np.full(inner, skeleton.types[path[-1]]))
        chain = np.concatenate([[number[path[0]]], np.arange(count, count + inner)])
        parents.append(chain[:-1])
        parents[0][number[path[-1]]] = chain[-1]
        count += inner
    return Skeleton(
        np.concatenate(positions),
        np.concatenate(parents),
        np.concatenate(radii),
        skeleton.name,
        np.concatenate(types),
    )


def smooth(skeleton: Skeleton, points: int = 3) -> Skeleton:
    """Returns branches whose points are means of their neighbours along the branch.

    Roots, branch points and tips stay; near these, means are of as many points as there are on both sides.

    Args:
        skeleton: one or more trees.
        points: odd number of points of a mean; 1 changes nothing.
    """
    positions, radii = skeleton.positions.copy(), skeleton.radii.copy()
    half = points // 2
    for path in sections(skeleton):
        place = np.arange(len(path))
        reach = np.minimum(half, np.minimum(place, place[::-1]))
        values = np.column_stack([skeleton.positions, skeleton.radii])[path]
        sums = np.concatenate([np.zeros((1, 4)), np.cumsum(values, axis=0)])
        means = (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)[:, None]
        inner = slice(1, -1)
        positions[path[inner]], radii[path[inner]] = means[inner, :3], means[inner, 3]
    return dataclasses.replace(skeleton, positions=positions, radii=radii)


def prune(skeleton: Skeleton, length: float) -> Skeleton:
    """Leaves out branches that end in a tip and are shorter than a length.

    Of several at one branch point the shortest goes first: the last two may be one branch then, and stay. The path from
    a root to its only tip always stays.

    Args:
        skeleton: one or more trees.
        length: in the skeleton's unit.
    """
    while True:
        counts, kept = skeleton.child_counts, np.ones(len(skeleton), bool)
        shortest: dict[int, tuple[float, np.ndarray]] = {}
        for path in sections(skeleton):
            if counts[path[-1]] or counts[path[0]] < 2:
                continue
            long = float(along(skeleton.positions[path])[-1])
            if long < min(length, shortest.get(int(path[0]), (np.inf,))[0]):
                shortest[int(path[0])] = (long, path)
        if not shortest:
            return skeleton
        for _, path in shortest.values():
            kept[path[1:]] = False
        skeleton = skeleton.keep(kept)


def straighten_ends(skeleton: Skeleton) -> Skeleton:
    """Returns branches whose ends, traced to some voxel of the end's surface, run straight on in the middle.

    The last part of a branch, of 1.5 of its radii, becomes the straight continuation of the part before it, as long as
    it reached in that direction. Branches shorter than 4 of their radii stay as they are.

    Args:
        skeleton: one or more trees with radii, with points that are close to each other.
    """
    positions, radii = skeleton.positions.copy(), skeleton.radii.copy()
    counts = skeleton.child_counts
    for path in sections(skeleton):
        ends = [path[::-1]] if counts[path[-1]] == 0 else []
        if skeleton.parents[path[0]] < 0 and counts[path[0]] == 1:
            ends.append(path)
        for way in ends:
            at = along(positions[way])
            radius = float(np.median(radii[way]))
            if not radius or at[-1] < len(ends) * _FAR * radius:
                continue
            near, far = np.searchsorted(at, (_NEAR * radius, _FAR * radius))
            if far <= near:
                continue
            anchor, before = positions[way[near]], positions[way[far]]
            step = anchor - before
            step /= np.linalg.norm(step)
            reach = max(0.0, float((positions[way[0]] - anchor) @ step))
            share = 1 - np.arange(near) / near
            positions[way[:near]] = anchor + (share * reach)[:, None] * step
            radii[way[:near]] = radii[way[near]]
    return dataclasses.replace(skeleton, positions=positions, radii=radii)


def join(skeleton: Skeleton, gap: float) -> Skeleton:
    """Joins trees whose nearest points are not farther apart than a gap, by a straight edge; the nearest first.

    Args:
        skeleton: one or more trees, whose points are close to each other beside the gap.
        gap: largest distance, in the skeleton's unit.

    Returns:
        The trees. One that was joined with another has the root of that whose first point came first.
    """
    trees = skeleton.tree_numbers()
    if not len(trees) or trees.max() == 0 or gap <= 0:
        return skeleton
    places = KDTree(skeleton.positions)
    pairs = places.query_pairs(gap, output_type="ndarray")
    pairs = pairs[trees[pairs[:, 0]] != trees[pairs[:, 1]]]
    steps = skeleton.positions[pairs[:, 0]] - skeleton.positions[pairs[:, 1]]
    group = list(range(int(trees.max()) + 1))

    def leader(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    added = []
    for i in np.argsort(np.linalg.norm(steps, axis=1), kind="stable"):
        a, b = (leader(int(trees[point])) for point in pairs[i])
        if a != b:
            group[max(a, b)] = min(a, b)
            added.append(pairs[i])
    if not added:
        return skeleton
    edges = np.concatenate([skeleton.edges, np.asarray(added, np.int64)])
    return _keep_roots(skeleton, edges)


def _keep_roots(skeleton: Skeleton, edges: np.ndarray) -> Skeleton:
    """Returns trees of edges; the root of each is the first of the points that were roots."""
    firsts = skeleton.roots
    parents = np.full(len(skeleton), -1, np.int64)
    near: list[list[int]] = [[] for _ in range(len(skeleton))]
    for a, b in edges.tolist():
        near[a].append(b)
        near[b].append(a)
    seen = np.zeros(len(skeleton), bool)
    for root in firsts.tolist():
        if seen[root]:
            continue
        seen[root] = True
        stack = [root]
        while stack:
            point = stack.pop()
            for other in near[point]:
                if not seen[other]:
                    seen[other] = True
                    parents[other] = point
                    stack.append(other)
    return dataclasses.replace(skeleton, parents=parents)
