"""How near two trees are to each other: the scores with which tracers of neurons are compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

from emjax.skeletons.shaping import resample
from emjax.skeletons.skeleton import Skeleton

# Nearest segments that are looked at first; all that may be nearer follow.
_FIRST = 8
# Points that are measured at a time.
_POINTS = 1 << 16


@dataclasses.dataclass(frozen=True)
class Segments:
    """Straight pieces of a tree.

    Attributes:
        starts: `[m, 3]` one end of each.
        stops: `[m, 3]` the other end; that of a tree of one point is the point itself.
    """

    starts: np.ndarray
    stops: np.ndarray

    @classmethod
    def of(cls, skeleton: Skeleton) -> Segments:
        """Returns the edges of a skeleton, and its trees of one point.

        Args:
            skeleton: in any unit.
        """
        edges = skeleton.edges
        alone = np.flatnonzero((skeleton.parents < 0) & (skeleton.child_counts == 0))
        ends = np.concatenate([edges, np.stack([alone, alone], axis=1)])
        return cls(skeleton.positions[ends[:, 0]], skeleton.positions[ends[:, 1]])

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Returns the exact distance of each point from the nearest place on any segment.

        A segment whose middle is farther than the best distance by more than half of the longest segment cannot be
        nearer, so only the nearest middles are looked at: more and more of them, until that is so.

        Args:
            points: `[n, 3]`.

        Returns:
            `[n]` float64.
        """
        middles = KDTree((self.starts + self.stops) / 2)
        half = np.linalg.norm(self.stops - self.starts, axis=1).max() / 2
        best = np.full(len(points), np.inf)
        for begin in range(0, len(points), _POINTS):
            part = slice(begin, begin + _POINTS)
            best[part] = self._nearest(points[part], middles, half)
        return best

    def _nearest(self, points: np.ndarray, middles: KDTree, half: float) -> np.ndarray:
        best = np.full(len(points), np.inf)
        open_, count = np.arange(len(points)), _FIRST
        while len(open_):
            count = min(count, len(self.starts))
            far, near = (
                np.asarray(part).reshape(len(open_), count)
                for part in middles.query(points[open_], k=count)
            )
            found = _from_segments(points[open_][:, None], self.starts[near], self.stops[near])
            best[open_] = found.min(axis=1)
            if count == len(self.starts):
                break
            open_ = open_[far[:, -1] < best[open_] + half]
            count *= 4
        return best


def _from_segments(points: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Returns distances of points from segments, all `[..., 3]`."""
    along = stops - starts
    squares = np.maximum((along**2).sum(axis=-1), np.finfo(float).tiny)
    share = np.clip(((points - starts) * along).sum(axis=-1) / squares, 0, 1)
    return np.linalg.norm(points - starts - share[..., None] * along, axis=-1)


def structure_scores(
    found_to_true: np.ndarray, true_to_found: np.ndarray, different: float = 2.0
) -> dict[str, float]:
    """Returns the three distances with which Vaa3D compares two trees, each the mean of both directions.

    Args:
        found_to_true: `[n]` distance of each point of the tracing from the true tree.
        true_to_found: `[m]` distance of each point of the true tree from the tracing.
        different: distance from which on a point counts as different.

    Returns:
        `esa`, entire structure average: the mean distance. `dsa`, different structure average: the mean distance of
        the points that are different; a direction without any is left out, 0 if neither has one. `pds`: share of the
        points that are different.

    Source: Peng et al., "V3D enables real-time 3D visualization and quantitative analysis of large-scale biological
    image data sets", doi:10.1038/nbt.1612.
    """
    both = (found_to_true, true_to_found)
    far = [d[d >= different].mean() for d in both if (d >= different).any()]
    return {
        "esa": float(np.mean([d.mean() for d in both])),
        "dsa": float(np.mean(far)) if far else 0.0,
        "pds": float(np.mean([(d >= different).mean() for d in both])),
    }


def tree_scores(
    found: Skeleton,
    true: Skeleton,
    *,
    different: float = 2.0,
    tolerance: float = 4.0,
    step: float = 1.0,
) -> dict[str, float]:
    """Scores a tracing against the true tree.

    Both trees get points at equal distances along their branches first, so that scores do not depend on how densely a
    program or a person set points; distances are to the nearest place on the other tree.

    Args:
        found: the tracing.
        true: the true tree, in the same unit.
        different: distance from which on a point counts as different, in that unit; for `dsa` and `pds`.
        tolerance: largest distance of a point that is right; for precision and recall.
        step: longest distance between points.

    Returns:
        Those of `structure_scores`; `tree_precision`, the share of the tracing's points that are near the true tree,
        `tree_recall`, the share of the true tree's that are near the tracing, and `tree_f1`; `length_recall`, the
        share of the true length both of whose ends are near; `length_ratio`, the length of the tracing divided by the
        true one, absent if that is 0.
    """
    found, true = resample(found, step), resample(true, step)
    to_true = Segments.of(true).distances(found.positions)
    to_found = Segments.of(found).distances(true.positions)
    near = to_found <= tolerance
    precision, recall = float((to_true <= tolerance).mean()), float(near.mean())
    scores = structure_scores(to_true, to_found, different)
    scores |= {"tree_precision": precision, "tree_recall": recall}
    scores["tree_f1"] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    lengths = true.edge_lengths
    if total := math.fsum(lengths):
        scores["length_recall"] = math.fsum(lengths[near[true.edges].all(axis=1)]) / total
        scores["length_ratio"] = found.length / total
    return scores


def mean_scores(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each score over the trees that have it.

    Args:
        scores: of each tree, as `tree_scores` returns them; at least one.
    """
    names = {name: None for one in scores for name in one}
    return {name: float(np.mean([one[name] for one in scores if name in one])) for name in names}
