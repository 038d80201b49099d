"""Scores of tracings: golden values, brute force, and that points are not what counts."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.evaluation.trees import Segments, mean_scores, structure_scores, tree_scores
from emjax.skeletons.skeleton import Skeleton


def _line(y: np.ndarray | float, x: np.ndarray) -> Skeleton:
    positions = np.stack([np.zeros(len(x)), np.broadcast_to(y, len(x)), x], axis=1)
    return Skeleton(positions, np.arange(len(x)) - 1, np.ones(len(x)))


def test_golden_values_from_point_to_point():
    x = np.arange(11.0)
    a, b = _line(0.0, x).positions, _line(np.where(x < 6, 1.0, 4.0), x).positions
    # A segment without length is a point.
    to_b, to_a = Segments(b, b).distances(a), Segments(a, a).distances(b)
    for pair in ((to_a, to_b), (to_b, to_a)):
        scores = structure_scores(*pair)
        assert scores["esa"] == pytest.approx(2.1278436, abs=1e-7)
        assert scores["dsa"] == pytest.approx(3.6747932, abs=1e-7)
        assert scores["pds"] == pytest.approx(0.4090909, abs=1e-7)


def test_a_direction_without_difference_is_left_out():
    near, far = np.asarray([0.0, 1.0]), np.asarray([0.0, 4.0])
    assert structure_scores(near, far) == {"esa": 1.25, "dsa": 4.0, "pds": 0.25}
    assert structure_scores(near, near)["dsa"] == 0


def test_nearest_places_against_brute_force():
    rng = np.random.default_rng(1)
    starts = rng.random((60, 3)) * 20
    # One long segment, whose middle is far from most of it.
    stops = starts + rng.normal(size=(60, 3)) * np.where(np.arange(60) == 7, 30, 2)[:, None]
    points = rng.random((80, 3)) * 30 - 5
    shares = np.linspace(0, 1, 4001)[:, None, None]
    dense = (starts + shares * (stops - starts)).reshape(-1, 3)
    brute = [np.linalg.norm(dense - point, axis=1).min() for point in points]
    found = Segments(starts, stops).distances(points)
    assert (found <= np.asarray(brute) + 1e-9).all()
    np.testing.assert_allclose(found, brute, atol=0.02)


def test_scores_do_not_depend_on_how_densely_points_were_set():
    true = _line(0.0, np.asarray([0.0, 100.0]))
    for x in (np.linspace(0, 100, 7), np.sort(np.random.default_rng(0).random(300)) * 100):
        x[0], x[-1] = 0, 100
        scores = tree_scores(_line(1.0, x), true)
        assert scores["esa"] == pytest.approx(1) and scores["pds"] == scores["dsa"] == 0
        assert scores["tree_f1"] == scores["length_recall"] == scores["length_ratio"] == 1


def test_half_of_a_line_is_half_recalled():
    found, true = _line(0.0, np.asarray([0.0, 50])), _line(0.0, np.asarray([0.0, 100]))
    scores = tree_scores(found, true, tolerance=0.5)
    assert scores["tree_precision"] == 1 and scores["length_ratio"] == pytest.approx(0.5)
    assert scores["length_recall"] == pytest.approx(0.5)
    assert scores["tree_recall"] == pytest.approx(51 / 101)
    # Points from 2 on, at 2 to 50 of 101.
    assert scores["pds"] == pytest.approx(49 / 101 / 2)
    away = tree_scores(_line(90.0, np.asarray([0.0, 1])), true)
    assert away["tree_f1"] == 0 and away["esa"] > 90
    assert mean_scores([{"esa": 1.0, "pds": 1.0}, {"esa": 3.0}]) == {"esa": 2.0, "pds": 1.0}
