"""Arrival times of a front: in the open, around a wall, and against Dijkstra."""

from __future__ import annotations

import numpy as np

from emjax.tracing.heap import pop, push
from emjax.tracing.marching import Marcher
from emjax.tracing.stack import Stack


def test_heap_sorts():
    rng = np.random.default_rng(0)
    values = rng.random(50).astype(np.float32)
    keys, places = np.empty(50, np.float32), np.empty(50, np.int64)
    count = 0
    for i, value in enumerate(values):
        count = push(keys, places, count, value, i)
    found = []
    while count:
        found.append(int(places[0]))
        count = pop(keys, places, count)
    assert found == np.argsort(values).tolist()


def _even(mask: np.ndarray, spacing=(1.0, 1.0, 1.0)) -> Stack:
    """A stack in which the front has speed 1 in the mask."""
    evidence = np.full(mask.shape, 255, np.uint8)
    return Stack(evidence, mask, np.full(mask.shape, 0.5, np.float32), spacing)


def test_times_in_the_open_are_distances():
    spacing = (2.0, 1.0, 1.0)
    marcher = Marcher(_even(np.ones((13, 25, 25), bool), spacing), 0.0)
    reached = marcher.march((6, 12, 12))
    grid = np.stack(np.indices((13, 25, 25)), axis=-1)
    true = np.linalg.norm((grid - (6, 12, 12)) * spacing, axis=-1)
    assert len(reached) == true.size and (np.diff(marcher.times.reshape(-1)[reached]) >= 0).all()
    # First order: late by less than a voxel and 10 %, never early.
    assert (marcher.times >= true - 1e-4).all()
    assert (marcher.times <= 1.1 * true + 1).all()


def test_the_front_goes_around_a_wall_and_not_farther_than_the_gap():
    mask = np.ones((1, 21, 21), bool)
    mask[0, :18, 10] = False
    marcher = Marcher(_even(mask), 0.0)
    marcher.march((0, 0, 0))
    around = np.hypot(18, 10) * 2
    assert marcher.times[0, 0, 20] >= around - 1 and np.isinf(marcher.times[0, 0, 10])
    apart = np.zeros((1, 3, 21), bool)
    apart[0, 1, :8], apart[0, 1, 13:] = True, True
    assert len(Marcher(_even(apart), 4.0).march((0, 1, 0))) == 8
    assert len(Marcher(_even(apart), 6.0).march((0, 1, 0))) == 16
