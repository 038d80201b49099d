"""Trees of points as arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

# Type of a point that is the soma, in SWC.
SOMA = 1


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """One or more trees of points.

    Attributes:
        positions: `[n, 3]` float64 z, y, x, in the unit that whoever made the skeleton says: nm, voxels, or that of a
            file.
        parents: `[n]` int64, index of each point's parent; -1 for the root of a tree.
        radii: `[n]` float64, in the same unit; 0 if unknown.
        name: name for messages.
        types: `[n]` int64, what each point is in SWC: 1 soma, 2 axon, 3 and 4 dendrites, 0 not known.
    """

    positions: np.ndarray
    parents: np.ndarray
    radii: np.ndarray
    name: str = ""
    types: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        """Fills in types that are not known."""
        if len(self.types) != len(self.parents):
            assert not len(self.types)
            object.__setattr__(self, "types", np.zeros(len(self.parents), np.int64))

    def __len__(self) -> int:
        """Number of points."""
        return len(self.parents)

    @property
    def edges(self) -> np.ndarray:
        """The two points of each edge (child, parent), `[m, 2]` int64 indices."""
        points = np.flatnonzero(self.parents >= 0)
        return np.stack([points, self.parents[points]], axis=1)

    @property
    def edge_lengths(self) -> np.ndarray:
        """Length of each edge, `[m]` float64."""
        edges = self.edges
        steps = self.positions[edges[:, 0]] - self.positions[edges[:, 1]]
        return np.linalg.norm(steps, axis=1)

    @property
    def length(self) -> float:
        """Length of all edges together."""
        return float(self.edge_lengths.sum())

    @property
    def roots(self) -> np.ndarray:
        """Indices of the roots, `[k]` int64."""
        return np.flatnonzero(self.parents < 0)

    @property
    def child_counts(self) -> np.ndarray:
        """Number of children of each point, `[n]` int64."""
        return np.bincount(self.parents[self.parents >= 0], minlength=len(self))

    def keep(self, kept: np.ndarray) -> Skeleton:
        """Returns a skeleton of the points that are kept and the edges between them.

        Args:
            kept: `[n]` bool, whether to keep each point.
        """
        number = np.where(kept, np.cumsum(kept) - 1, -1)
        parents = np.where(self.parents >= 0, number[self.parents], -1)[kept]
        return Skeleton(
            self.positions[kept], parents, self.radii[kept], self.name, self.types[kept]
        )

    def trees(self) -> list[Skeleton]:
        """Returns each connected tree as a skeleton of its own, ordered by their first points."""
        tree = self.tree_numbers()
        return [self.keep(tree == i) for i in range(tree.max() + 1)] if len(tree) else []

    def tree_numbers(self) -> np.ndarray:
        """Returns the number of the tree that each point is in, `[n]` int; numbered by their first points."""
        edges, points = self.edges, len(self)
        ones = np.ones(len(edges), bool)
        graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(points, points))
        # scipy numbers components by their first points.
        return connected_components(graph, directed=False)[1]

    def transformed(self, scale: np.ndarray, shift: np.ndarray, radius_scale: float) -> Skeleton:
        """Returns the skeleton in another unit.

        Args:
            scale: `[3]` factors of z, y, x.
            shift: `[3]` added to positions before they are multiplied.
            radius_scale: factor of the radii.
        """
        return dataclasses.replace(
            self, positions=(self.positions + shift) * scale, radii=self.radii * radius_scale
        )


def joined(skeletons: Sequence[Skeleton], name: str = "") -> Skeleton:
    """Returns the trees of several skeletons as one skeleton.

    Args:
        skeletons: in one unit; may be none.
        name: of the result.
    """
    starts = np.cumsum([0, *(len(s) for s in skeletons)])
    parents = [
        np.where(s.parents >= 0, s.parents + start, -1)
        for s, start in zip(skeletons, starts[:-1], strict=True)
    ]
    return Skeleton(
        np.concatenate([np.zeros((0, 3)), *(s.positions for s in skeletons)]),
        np.concatenate([np.zeros(0, np.int64), *parents]),
        np.concatenate([np.zeros(0), *(s.radii for s in skeletons)]),
        name,
        np.concatenate([np.zeros(0, np.int64), *(s.types for s in skeletons)]),
    )


def sums_to_root(parents: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns for each point the sum of values over itself and all points between it and its root, which counts too.

    Pointers are doubled: log2 of the depth steps over whole arrays.

    Args:
        parents: `[n]` int64; -1 for roots; without rings.
        values: `[n]` numbers.
    """
    sums, above = values.copy(), parents.copy()
    while (above >= 0).any():
        sums = sums + np.where(above >= 0, sums[above], 0)
        above = np.where(above >= 0, above[above], -1)
    return sums


def rooted(
    positions: np.ndarray, edges: np.ndarray, radii: np.ndarray, roots: Sequence[int] = ()
) -> Skeleton:
    """Makes trees of points and edges without direction.

    Args:
        positions: `[n, 3]` z, y, x.
        edges: `[m, 2]` indices, without rings.
        radii: `[n]`.
        roots: indices of points that are roots, one in a tree at most; a tree without any begins at an end.

    Returns:
        The trees in the order of their first points, parents before their children.
    """
    count = len(positions)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    graph = graph.tocsr()
    trees, tree = connected_components(graph, directed=False)
    starts = {int(tree[root]): int(root) for root in roots}
    order, parents = [], np.full(count, -1, np.int64)
    for number, point in enumerate(np.unique(tree, return_index=True)[1].tolist() if trees else []):
        start = starts.get(number)
        if start is None:
            # The point that a walk from anywhere reaches last is an end.
            start = int(breadth_first_order(graph, point, directed=False)[0][-1])
        found, before = breadth_first_order(graph, start, directed=False)
        order.append(found)
        # scipy marks the start, and all that it did not reach, by a large negative number.
        parents[found] = np.maximum(before[found], -1)
    place = np.empty(count, np.int64)
    sequence = np.concatenate([np.zeros(0, np.int64), *order])
    place[sequence] = np.arange(count)
    above = parents[sequence]
    return Skeleton(
        positions[sequence].astype(np.float64),
        np.where(above >= 0, place[above], -1),
        radii[sequence].astype(np.float64),
    )
