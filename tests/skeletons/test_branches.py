"""Branches of a Y, counted by hand."""

from __future__ import annotations

import numpy as np

from emjax.skeletons.branches import branch_orders, measure_trees, sections
from emjax.skeletons.skeleton import Skeleton


def make_y() -> Skeleton:
    """A stem of 10 along x, arms of 5 along y and of 4 along z."""
    stem = [(0, 0, x) for x in range(11)]
    arms = [(0, y, 10) for y in range(1, 6)] + [(z, 0, 10) for z in range(1, 5)]
    parents = [-1, *range(10), 10, 11, 12, 13, 14, 10, 16, 17, 18]
    return Skeleton(np.asarray(stem + arms, float), np.asarray(parents), np.ones(20))


def test_sections_and_orders():
    y = make_y()
    assert [path.tolist() for path in sections(y)] == [
        list(range(11)),
        [10, 11, 12, 13, 14, 15],
        [10, 16, 17, 18, 19],
    ]
    assert branch_orders(y).tolist() == [0] * 11 + [1] * 9


def test_shape():
    assert measure_trees(make_y()) == {
        "points": 20,
        "trees": 1,
        "branch_points": 1,
        "tips": 2,
        "length": 19.0,
        "max_branch_order": 1,
    }
    point = Skeleton(np.zeros((1, 3)), np.asarray([-1]), np.zeros(1))
    assert sections(point) == [] and measure_trees(point)["tips"] == 0
