"""Measurements: medians, ratios and what they are said to be; candidates that fail are named."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import report
    import timing

    return report, timing


# Candidates are made in other processes, which must be able to import them.
CANDIDATES = """
import time

def sleeper(seconds):
    def run():
        time.sleep(seconds)
        return {"asked": seconds}
    return run

def spinner(seconds):
    def run():
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
    return run

def breaker():
    raise ValueError("no such thing")
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
    (tmp_path / "toy_candidates.py").write_text(CANDIDATES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("toy_candidates")
    del sys.modules["toy_candidates"]


def test_ratio_and_memory_by_hand(modules, tmp_path, monkeypatch, capsys):
    report, timing = modules
    monkeypatch.setattr(sys, "argv", ["stage.py"])
    options = report.options("A stage.", ("peer",)).parse_args(
        ["--output", str(tmp_path / "a.json")]
    )
    ours = timing.Timing([2.0, 4.0, 3.0], [1.0] * 3, [0.5, 0.0, 0.1], 1.0, 300, {})
    slow = timing.Timing([9.0, 9.0, 9.0], [3.0] * 3, [0.0] * 3, 1.0, 100, {})
    fast = timing.Timing([6.0, 6.0, 1.5], [2.0] * 3, [0.0] * 3, 1.0, 200, {})
    written = report.Report("stage", options)
    written.add("case", {"emjax": ours}, 6, "Mvoxel")
    written.ratio("case", ours, {"slow": slow, "fast": fast}, memory=True)
    written.write()
    said = capsys.readouterr().out
    assert "RATIO case 2.000  (to fast" in said
    assert "MEMORY case 3.000  (least peer slow)" in said
    assert "others 0.20 cores" in said  # more than half a second of runs
    found = json.loads((tmp_path / "a.json").read_text())
    row = found["ratios"]["case"]
    assert row["pairs"] == [3.0, 1.5, 0.5]
    assert row["fastest"] == 0.75 and row["cpu"] == 2.0
    assert found["timings"]["case"]["emjax"]["Mvoxel_per_s"] == 2.0
    assert found["timings"]["case"]["emjax"]["quartiles_s"] == [2.5, 3.5]


def test_candidates_run_in_turn_in_processes_of_their_own(modules, made):
    _, timing = modules
    found = timing.interleave(
        {
            "short": timing.Candidate(made.sleeper, {"seconds": 0.01}),
            "long": timing.Candidate(made.sleeper, {"seconds": 0.1}),
            "busy": timing.Candidate(made.spinner, {"seconds": 0.1}),
        },
        3,
    )
    assert [len(t.seconds) for t in found.values()] == [3, 3, 3]
    assert found["short"].median < found["long"].median
    assert found["long"].extra == {"asked": 0.1}
    # Waiting is no work; spinning is.
    assert max(found["long"].cpu_s) < 0.05 < min(found["busy"].cpu_s)
    assert found["busy"].peak_bytes > 2**20


def test_a_candidate_that_fails_is_named(modules, made):
    _, timing = modules
    with pytest.raises(RuntimeError, match="(?s)broken failed.*no such thing"):
        timing.interleave({"broken": timing.Candidate(made.breaker)}, 1)
