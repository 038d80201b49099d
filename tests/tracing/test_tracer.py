"""Tubes, a Y, a ring and a gap: one path each, within a voxel of the middle, of the right length; by both methods."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.skeletons.branches import measure_trees
from emjax.skeletons.skeleton import SOMA, Skeleton
from emjax.tracing.stack import Stack
from emjax.tracing.tracer import METHODS, Tracer

from .shapes import distance_to_lines, ring, tube

SHAPE = (21, 60, 120)
both_methods = pytest.mark.parametrize("method", METHODS)


def _stack(mask: np.ndarray, spacing=(1.0, 1.0, 1.0)) -> Stack:
    # Brighter in the middle, as blurred tubes are; noise in the background.
    values = np.random.default_rng(0).integers(0, 40, mask.shape)
    return Stack.of(np.where(mask, 200, values).astype(np.uint8), 100, spacing, min_voxels=10)


def _counts(made: Skeleton) -> tuple[int, int, int]:
    shape = measure_trees(made)
    return int(shape["trees"]), int(shape["branch_points"]), int(shape["tips"])


@both_methods
@pytest.mark.parametrize(
    ("start", "stop", "radius"),
    [((10, 30, 8), (10, 30, 111), 2.0), ((4, 8, 10), (17, 50, 110), 3.0)],
)
def test_straight_tube(method, start, stop, radius):
    made = Tracer(method).trace(_stack(tube(SHAPE, start, stop, radius)))
    assert _counts(made) == (1, 0, 1)
    assert distance_to_lines(made.positions, [(start, stop)]).max() <= 1
    assert made.length == pytest.approx(np.linalg.norm(np.subtract(stop, start)), rel=0.03)
    assert np.median(made.radii) == pytest.approx(radius, abs=0.8)


@both_methods
def test_y(method):
    middle = (10, 30, 60)
    ends = [(10, 30, 5), (10, 5, 110), (10, 55, 110)]
    mask = np.any([tube(SHAPE, middle, end, 2.5) for end in ends], axis=0)
    made = Tracer(method).trace(_stack(mask), root=(10, 30, 6))
    assert _counts(made) == (1, 1, 2)
    assert distance_to_lines(made.positions, [(middle, end) for end in ends]).max() <= 1
    length = sum(np.linalg.norm(np.subtract(end, middle)) for end in ends)
    assert made.length == pytest.approx(length, rel=0.03)
    assert np.linalg.norm(made.positions[made.roots[0]] - (10, 30, 5)) <= 2


@both_methods
def test_ring_is_opened_once(method):
    mask = ring((13, 110, 110), (6, 55, 55), 45.0, 2.5)
    made = Tracer(method, gap=1.0).trace(_stack(mask))
    counts = measure_trees(made)
    assert counts["trees"] == 1 and counts["branch_points"] <= 1 and counts["tips"] <= 2
    off = np.hypot(*(made.positions[:, 1:] - 55).T) - 45
    assert np.hypot(off, made.positions[:, 0] - 6).max() <= 1
    # Open where both ends meet, by at most what a path covers.
    assert made.length == pytest.approx(2 * np.pi * 45, rel=0.03)


@both_methods
def test_gap_is_passed_where_it_is_small_enough(method):
    parts = [((10, 30, 8), (10, 30, 55)), ((10, 30, 61), (10, 30, 112))]
    mask = np.any([tube(SHAPE, *ends, 2.0) for ends in parts], axis=0)
    made = Tracer(method, gap=8.0).trace(_stack(mask))
    assert _counts(made) == (1, 0, 1)
    assert distance_to_lines(made.positions, [(parts[0][0], parts[1][1])]).max() <= 1
    assert made.length == pytest.approx(104, rel=0.03)
    apart = Tracer(method, gap=3.0).trace(_stack(mask))
    assert _counts(apart) == (2, 0, 2)
    first, second = apart.trees()
    assert first.length > second.length
    assert len(Tracer(method, gap=3.0, most_trees=1).trace(_stack(mask)).roots) == 1


@both_methods
def test_sections_that_are_far_apart(method):
    spacing = (4.0, 1.0, 1.0)
    ends = ((2, 10, 10), (16, 40, 100))
    made = Tracer(method).trace(_stack(tube((20, 50, 110), *ends, 4.0, spacing), spacing))
    inner = [tuple(np.multiply(end, spacing)) for end in ends]
    assert len(made.roots) == 1
    # A voxel is 4 high.
    assert distance_to_lines(made.positions, [tuple(inner)]).max() <= 4
    if method == "teasar":
        # Marching leaves a twig where depth changes between sections, see docs/tracing.md.
        assert _counts(made) == (1, 0, 1)
        assert made.length == pytest.approx(np.linalg.norm(np.subtract(*inner)), rel=0.03)


def test_one_section():
    stack = _stack(tube((1, 60, 120), (0, 30, 5), (0, 40, 115), 2.5))
    made = Tracer("marching").trace(stack)
    assert _counts(made) == (1, 0, 1)
    assert distance_to_lines(made.positions, [((0, 30, 5), (0, 40, 115))]).max() <= 1
    with pytest.raises(InputError, match="method 'teasar' needs depth"):
        Tracer("teasar").trace(stack)


@both_methods
def test_a_cell_body_is_the_root(method):
    grid = np.stack(np.indices((31, 40, 120)), axis=-1)
    mask = np.linalg.norm(grid - (15, 20, 20), axis=-1) <= 12
    mask |= tube((31, 40, 120), (15, 20, 20), (15, 20, 115), 1.5)
    made = Tracer(method).trace(_stack(mask))
    root = made.roots[0]
    assert made.types[root] == SOMA and np.linalg.norm(made.positions[root] - (15, 20, 20)) <= 3
    assert made.radii[root] == pytest.approx(12, abs=4) and len(made.roots) == 1
    assert made.length == pytest.approx(95, abs=10)


def test_marching_follows_the_bright_way():
    # Two ways around a hole, one of them dim: that is where the ring is opened.
    values = np.zeros((5, 40, 60), np.uint8)
    values[2, 10, 10:50], values[2, 30, 10:50] = 250, 110
    values[2, 10:31, 10], values[2, 10:31, 49] = 250, 250
    stack = Stack.of(values, 100)
    made = Tracer("marching", prune=10.0).trace(stack, root=(2, 20, 10))
    tips = made.positions[made.child_counts == 0]
    assert len(made.roots) == 1 and np.abs(tips[:, 1] - 30).max() < 1
    assert (np.abs(made.positions[:, 1] - 10) < 1).sum() > 30


def test_roots_that_cannot_be():
    stack = _stack(tube(SHAPE, (10, 30, 8), (10, 30, 111), 2.0))
    with pytest.raises(InputError, match="root=10,40,50 lies in background; .* is 10,32,50: give"):
        Tracer().trace(stack, root=(10, 40, 50))
    with pytest.raises(InputError, match="root=21,0,0 is outside of the stack"):
        Tracer().trace(stack, root=(21, 0, 0))
