"""That the comparison would notice; that runs are the same is tests/train/test_meshes.py's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def meshes(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import meshes

    return meshes


def _outcome(meshes, losses, kernel=(3.0, 4.0)):
    state = {"params/kernel": np.array(kernel), "train/step": np.array(len(losses))}
    return meshes.Outcome(np.array(losses), state, np.zeros((len(losses), 8)), 1.0)


def test_differences_are_relative(meshes):
    one = _outcome(meshes, [2.0, 1.0])
    apart = meshes.compare(_outcome(meshes, [2.02, 0.9], (3.0, 4.5)), one)
    np.testing.assert_allclose(apart, [0.01, 0.1, 0.1])
    assert meshes.is_within(apart, meshes.Distance(0.02, 0.11, 0.11))
    for place in range(3):
        assert not meshes.is_within(apart, meshes.Distance(1, 1, 1)._replace(**_low(meshes, place)))


def _low(meshes, place):
    return {meshes.Distance._fields[place]: 1e-3}


def test_a_run_that_is_not_whole_is_far_away(meshes):
    one = _outcome(meshes, [2.0, 1.0])
    tolerance = meshes.Distance(1, 1, 1)
    assert not meshes.is_within(meshes.compare(_outcome(meshes, [2.0]), one), tolerance)
    broken = meshes.compare(_outcome(meshes, [2.0, np.nan]), one)
    assert not meshes.is_within(broken, tolerance)


def test_a_row_shows_what_differs(meshes):
    layout = meshes.Layout((2, 2, 1), 4)
    row = meshes.line("vit", layout, False, meshes.Distance(0.0, 1.24e-6, 0.5), 7.3)
    assert row == "| vit | 2 x 2 x 1 | 4 | NO | 0 | 1.2e-06 | 5.0e-01 | 7 |"


def test_a_process_that_fails_is_quoted(meshes, tmp_path):
    # Before it generates or compiles anything.
    with pytest.raises(RuntimeError, match="(?s)absent_3x1x1_1 failed.*KeyError: 'absent'"):
        meshes.train("absent", meshes.Layout((3, 1, 1)), tmp_path)
