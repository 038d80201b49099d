"""The branches of trees: paths between roots, branch points and tips."""

from __future__ import annotations

import numpy as np

from emjax.skeletons.skeleton import Skeleton, sums_to_root


def sections(skeleton: Skeleton) -> list[np.ndarray]:
    """Returns the paths between key points (roots, branch points and tips).

    Args:
        skeleton: one or more trees.

    Returns:
        `[k]` int64 indices of each path, from the key point nearer to the root to the other, both included; in the
        order of their last points. A tree of one point has none.
    """
    key = is_key(skeleton)
    parents, stops = skeleton.parents.tolist(), key.tolist()
    found = []
    for last in np.flatnonzero(key & (skeleton.parents >= 0)).tolist():
        path = [last, parents[last]]
        while not stops[path[-1]]:
            path.append(parents[path[-1]])
        found.append(np.asarray(path[::-1], np.int64))
    return found


def is_key(skeleton: Skeleton) -> np.ndarray:
    """Whether each point is a root, a branch point or a tip, `[n]` bool."""
    return (skeleton.parents < 0) | (skeleton.child_counts != 1)


def branch_orders(skeleton: Skeleton) -> np.ndarray:
    """Returns how many branch points lie between each point and its root, neither counted, `[n]` int64."""
    above = skeleton.parents
    forks = (skeleton.child_counts > 1) & (above >= 0)
    passed = np.where(above >= 0, forks[above], False).astype(np.int64)
    return sums_to_root(above, passed)


def along(positions: np.ndarray) -> np.ndarray:
    """Returns the length of a path up to each of its points.

    Args:
        positions: `[k, 3]` of the points.

    Returns:
        `[k]` float64, from 0.
    """
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def measure_trees(skeleton: Skeleton) -> dict[str, float]:
    """Returns what describes the shape of trees.

    Args:
        skeleton: in any unit of length.

    Returns:
        `points`, `trees`, `branch_points` (roots apart), `tips`, `length` in the skeleton's unit, and
        `max_branch_order`.
    """
    counts, below = skeleton.child_counts, skeleton.parents >= 0
    return {
        "points": len(skeleton),
        "trees": len(skeleton.roots),
        "branch_points": int(np.count_nonzero((counts > 1) & below)),
        "tips": int(np.count_nonzero((counts == 0) & below)),
        "length": skeleton.length,
        "max_branch_order": int(branch_orders(skeleton).max(initial=0)),
    }
