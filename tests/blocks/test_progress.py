"""What is shown of work on blocks, by a clock that the test moves."""

from __future__ import annotations

import types

import numpy as np
import pytest

from emjax.blocks import progress
from emjax.blocks.done import DoneBlocks
from emjax.blocks.progress import BlockProgress, Pieces
from emjax.blocks.run import run_blocks
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(s=100.0)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: now.s))
    return now


def test_the_time_left_does_not_count_what_comes_once(clock, capfd):
    shown = BlockProgress("work", 5, 0, 5_000_000)
    # The first block takes a minute, in which a program is compiled; each other one ten seconds.
    for seconds in (60, 10, 10):
        clock.s += seconds
        shown.update(1_000_000)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "work: block 1/5  0.0167 Mvoxel/s"
    assert lines[2] == "work: block 3/5  0.0375 Mvoxel/s  left 0:00:20"


def test_pieces_are_counted_within_a_block(clock, capfd):
    shown = BlockProgress("predict", 1, 0, 1000, pieces=("tile", 40))
    for seconds in (60, 10, 10):
        clock.s += seconds
        shown.piece(10)
    assert capfd.readouterr().err.splitlines()[-1] == "predict: tile 30/40  left 0:00:10"
    # Tried again, because writing failed: not more than there are.
    shown.piece(20)
    clock.s += 1
    shown.update(1000)
    assert "tile 40/40" in capfd.readouterr().err


def test_a_work_says_how_far_it_is(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    grid = Grid(Box((0, 0, 0), (4, 4, 4)), (2, 4, 4))
    pieces = Pieces("tile", lambda grid, indices: 3 * len(indices))
    done = DoneBlocks(tmp_path / "done", "a")
    done.begin()

    def work(block) -> None:
        for _ in range(3):
            pieces.done(1)

    run_blocks(grid, work, done, what="predict", pieces=pieces)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines if "tile" in line][-1] == "6/6"
    pieces.done(1)  # nobody listens any more


def test_nothing_is_shown_that_is_not_known(clock, capfd):
    shown = BlockProgress("work", 2, 1, 10, pieces=("tile", 5))
    clock.s += 60
    shown.piece(0)
    assert capfd.readouterr().err == "work: tile 0/5\n"
    assert np.isfinite(clock.s)
