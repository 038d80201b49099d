"""From a stack to trees: either method, its roots, and what is done with the trees of both alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.spatial import KDTree

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.skeletons.shaping import join, prune, resample, smooth, straighten_ends
from emjax.skeletons.skeleton import SOMA, Skeleton, joined, rooted
from emjax.tracing.backtracking import FREE, Coverage, track_back
from emjax.tracing.marching import Marcher
from emjax.tracing.stack import Stack
from emjax.tracing.thinning import trace_mask

METHODS = ("teasar", "marching")
# A cell body is so much thicker than its neurites, and at least of this radius, in voxels of the shortest side.
_SOMA_RADII, _SOMA_RADIUS = 4.0, 5.0


@dataclasses.dataclass(frozen=True)
class Tracer:
    """How trees are traced. Lengths are in voxels of the shortest side.

    Attributes:
        method: 'teasar': middle lines of the mask; 'marching': fast marching from a root, and back.
        coverage: what a path covers, for both methods; its last two values are for 'marching' alone.
        gap: largest gap in a neurite.
        prune: shortest branch with a tip.
        smooth: number of points of a mean along a branch, odd; of 'teasar' as many times more as sections are
            thicker than pixels are wide.
        step: distance between points; 0: as they are, about one.
        most_trees: number of trees that are kept, the longest; 0: all.
    """

    method: str = "marching"
    coverage: Coverage = Coverage()
    gap: float = 10.0
    prune: float = 5.0
    smooth: int = 5
    step: float = 0.0
    most_trees: int = 0

    def trace(
        self,
        stack: Stack,
        root: tuple[int, ...] | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Skeleton:
        """Traces a stack.

        Args:
            stack: what is traced.
            root: (z, y, x) voxel of the root of the first tree; None: the middle of a cell body if there is one, else
                the end with the most evidence.
            progress: is told the share of the neurite that was traced.

        Returns:
            The trees, the longest first, in the unit of the stack's spacing; 0 is the centre of the first voxel.

        Raises:
            InputError: if the root lies in background.
        """
        if root is not None:
            _check_root(stack, root)
        if self.method == "teasar":
            cover = self.coverage
            made = trace_mask(stack.mask, stack.depth, stack.spacing, cover.scale, cover.constant)
        else:
            made = self._march(stack, root, progress)
        made = join(made, self.gap)
        soma = find_soma(made) if root is None else None
        first = soma
        if root is not None:
            place = np.multiply(root, stack.spacing)
            first = int(np.linalg.norm(made.positions - place, axis=1).argmin())
        made = _rerooted(made, stack, first)
        if soma is not None:
            made = _without_stubs(made)
        made = smooth(prune(made, self.prune), self._window(stack.spacing))
        made = straighten_ends(made)
        if self.step:
            made = resample(made, self.step)
        progress(1.0)
        return self._chosen(made, first is not None, soma is not None)

    def _march(
        self, stack: Stack, root: tuple[int, ...] | None, progress: Callable[[float], None]
    ) -> Skeleton:
        """Marches through each piece, from the given root or its deepest voxel."""
        marcher = Marcher(stack, self.gap)
        owners = np.full(stack.size, FREE, np.int32)
        voxels = np.flatnonzero(stack.mask)
        order = voxels[np.argsort(-stack.depth.reshape(-1)[voxels], kind="stable")]
        done, trees = 0, []
        times = marcher.times.reshape(-1)
        starts = [int(np.ravel_multi_index(root, stack.size))] if root is not None else []
        for place in [*starts, *order.tolist()]:
            if times[place] < np.inf:
                continue
            start = tuple(int(i) for i in np.unravel_index(place, stack.size))
            reached = marcher.march(start)
            done += len(reached)
            if len(reached):
                trees.append(
                    track_back(stack, marcher.times, reached, start, self.coverage, owners)
                )
            progress(done / len(voxels))
        return joined(trees)

    def _window(self, spacing: Triple) -> int:
        """Returns the odd number of points of a mean: middle lines of 'teasar' go up and down by whole sections."""
        if self.smooth == 1 or self.method != "teasar":
            return self.smooth
        return self.smooth * round(max(spacing)) // 2 * 2 + 1

    def _chosen(self, made: Skeleton, rooted_first: bool, soma: bool) -> Skeleton:
        """Returns the trees that are kept, the longest first, but that of a root or cell body before all others."""
        trees = made.trees()
        own, others = (trees[:1], trees[1:]) if rooted_first else ([], trees)
        trees = [*own, *sorted(others, key=lambda tree: -tree.length)]
        found = joined(trees[: self.most_trees] if self.most_trees else trees)
        if soma:
            types = found.types.copy()
            types[found.roots[0]] = SOMA
            found = dataclasses.replace(found, types=types)
        return found


def find_soma(made: Skeleton) -> int | None:
    """Returns the point in the middle of a cell body; None if no point is much deeper than neurites are.

    Args:
        made: trees, in voxels of the shortest side.
    """
    deepest = int(made.radii.argmax())
    least = max(_SOMA_RADIUS, _SOMA_RADII * float(np.median(made.radii)))
    return deepest if made.radii[deepest] >= least else None


def _without_stubs(made: Skeleton) -> Skeleton:
    """Leaves out branches of the first tree that end within the cell body, which is its root."""
    root = int(made.roots[0])
    far = np.linalg.norm(made.positions - made.positions[root], axis=1) > made.radii[root] + 1
    kept = far.copy()
    kept[root] = True
    above = np.unique(made.parents[far])
    while len(above := above[(above >= 0) & ~kept[above]]):
        kept[above] = True
        above = np.unique(made.parents[above])
    return made.keep(kept)


def _check_root(stack: Stack, root: tuple[int, ...]) -> None:
    if any(not 0 <= at < side for at, side in zip(root, stack.size, strict=True)):
        raise InputError(
            f"root={','.join(map(str, root))} is outside of the stack of {stack.size} voxels"
        )
    if stack.mask[root]:
        return
    voxels = np.argwhere(stack.mask)
    _, nearest = KDTree(voxels * np.asarray(stack.spacing)).query(np.multiply(root, stack.spacing))
    raise InputError(
        f"root={','.join(map(str, root))} lies in background; the nearest voxel of neurite is "
        f"{','.join(map(str, voxels[nearest]))}: give that, or a lower --config.threshold"
    )


def _rerooted(made: Skeleton, stack: Stack, first: int | None) -> Skeleton:
    """Returns the trees with their roots: the tree of the given point first, the others from their brightest end."""
    voxels = np.rint(made.positions / stack.spacing).astype(np.int64)
    voxels = np.clip(voxels, 0, np.asarray(stack.size) - 1)
    # Of ends of equal evidence the thickest.
    evidence = stack.evidence[tuple(voxels.T)].astype(np.float64) + made.radii / 1e3
    degrees = made.child_counts + (made.parents >= 0)
    trees, roots = made.tree_numbers(), [] if first is None else [first]
    for tree in range(trees.max() + 1):
        if first is None or trees[first] != tree:
            ends = np.flatnonzero((trees == tree) & (degrees <= 1))
            roots.append(int(ends[evidence[ends].argmax()]))
    made = rooted(made.positions, made.edges, made.radii, roots)
    if first is None:
        return made
    parts = made.trees()
    return joined([parts.pop(int(trees[first])), *parts])
