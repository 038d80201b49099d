"""Other points along the same branches, fewer branches, joined trees."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.skeletons.branches import measure_trees
from emjax.skeletons.shaping import join, prune, resample, smooth, straighten_ends
from emjax.skeletons.skeleton import Skeleton, joined

from .test_branches import make_y


@pytest.mark.parametrize("step", [0.3, 1.0, 2.5, 100.0])
def test_resampling_keeps_length_and_branches(step):
    y = make_y()
    found = resample(y, step)
    assert found.edge_lengths.max() <= step + 1e-9
    shape, before = measure_trees(found), measure_trees(y)
    assert shape["length"] == pytest.approx(before["length"])
    assert (shape["tips"], shape["branch_points"]) == (2, 1)
    assert shape["points"] == 1 + sum(int(np.ceil(n / step - 1e-9)) for n in (10, 5, 4))
    # In a straight branch all steps are alike.
    assert len(np.unique(np.round(found.edge_lengths, 9))) <= 3


def test_smoothing_takes_off_a_staircase_and_keeps_ends():
    x = np.arange(21.0)
    positions = np.stack([np.zeros(21), np.floor(x / 2), x], axis=1)
    stairs = Skeleton(positions, np.arange(21) - 1, np.ones(21))
    found = smooth(stairs, 5)
    straight = np.hypot(20, 10)
    assert stairs.length > 1.05 * straight and found.length == pytest.approx(straight, rel=0.01)
    assert found.positions[[0, -1]].tolist() == positions[[0, -1]].tolist()
    assert np.array_equal(smooth(stairs, 1).positions, positions)
    assert np.allclose(smooth(make_y(), 3).positions, make_y().positions)


def test_pruning_takes_the_shortest_and_then_looks_again():
    y = make_y()
    assert measure_trees(prune(y, 4.5))["length"] == 15
    # The arm of 5 is one branch with the stem, once that of 4 is gone.
    assert measure_trees(prune(y, 5.5))["length"] == 15
    assert len(prune(y, 3.9)) == len(y)


def test_near_trees_are_joined_once_and_far_ones_are_not():
    parts = []
    for start in (0.0, 13.0, 40.0):
        positions = np.zeros((10, 3))
        positions[:, 2] = start + np.arange(10)
        # Roots are at the far ends.
        parts.append(Skeleton(positions, np.append(np.arange(1, 10), -1), np.ones(10)))
    both = join(joined(parts), 5)
    assert len(both.roots) == 2 and both.length == 27 + 4
    assert both.parents[9] == -1 and both.parents[19] == 18
    assert len(join(joined(parts), 3.9).roots) == 3
    assert measure_trees(both)["tips"] == 3


def test_ends_run_on_in_the_middle():
    x = np.arange(31.0)
    # To the rim of its end, 2 off, within the last two points.
    y = np.where(x < 29, 0, x - 28)
    tree = Skeleton(np.stack([0 * x, y, x], axis=1), np.arange(31) - 1, np.full(31, 2.0))
    made = straighten_ends(tree)
    assert np.abs(made.positions[:, 1]).max() < 1e-9
    assert made.positions[-1, 2] == pytest.approx(30) and made.length == pytest.approx(30)
    short = make_y()
    assert np.allclose(straighten_ends(short).positions, short.positions)
