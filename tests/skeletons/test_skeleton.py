"""Trees as arrays."""

from __future__ import annotations

import numpy as np

from emjax.skeletons.skeleton import Skeleton, joined, rooted, sums_to_root


def test_leaving_out_points_leaves_out_their_edges():
    positions = np.arange(15.0).reshape(5, 3)
    skeleton = Skeleton(positions, np.asarray([-1, 0, 1, 2, 2]), np.zeros(5))
    kept = skeleton.keep(np.asarray([True, False, True, True, True]))
    assert kept.parents.tolist() == [-1, -1, 1, 1] and kept.positions[1].tolist() == [6, 7, 8]
    assert [len(tree) for tree in kept.trees()] == [1, 3]
    assert skeleton.keep(np.zeros(5, bool)).trees() == []


def test_trees_put_together_are_the_trees_again():
    one = Skeleton(np.zeros((2, 3)), np.asarray([-1, 0]), np.ones(2), "", np.asarray([1, 3]))
    both = joined([one, one], "b")
    assert both.parents.tolist() == [-1, 0, -1, 2] and both.types.tolist() == [1, 3, 1, 3]
    assert len(both.trees()) == 2 and len(joined([])) == 0


def test_sums_to_the_root_against_a_walk():
    rng = np.random.default_rng(0)
    parents = np.asarray([-1, *(rng.integers(0, i) for i in range(1, 40))])
    parents[20] = -1
    values = rng.integers(0, 9, 40)
    found = sums_to_root(parents, values)
    for i in range(40):
        total, at = 0, i
        while at >= 0:
            total, at = total + values[at], parents[at]
        assert found[i] == total


def test_edges_become_trees_from_a_root():
    positions = np.zeros((6, 3))
    positions[:, 2] = [0, 1, 2, 3, 9, 8]
    edges = np.asarray([[1, 0], [2, 1], [2, 3], [4, 5]])
    tree = rooted(positions, edges, np.arange(6.0), [2])
    at = {position: i for i, position in enumerate(tree.positions[:, 2].tolist())}
    assert tree.parents[at[2]] == -1 and tree.parents[at[0]] == at[1]
    assert len(tree.roots) == 2 and tree.length == 4 and (tree.parents < np.arange(6)).all()
    # Without a root given, an end is one.
    ends = rooted(positions, edges, np.arange(6.0))
    assert set(ends.positions[ends.roots, 2].tolist()) <= {0, 3, 8, 9}
