"""Passes one after the other: what is done, resumed, left to others, interrupted, and counted."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from emjax.blocks.done import DoneBlocks
from emjax.blocks.parts import part_path, write_part
from emjax.blocks.passes import BlockPasses, Interrupted, Passes, goes_on
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid

GRID = Grid(Box((0, 0, 0), (1, 1, 10)), (1, 1, 4))


def _nothing(block) -> None:
    pass


def test_two_passes_are_counted_together(tmp_path: Path) -> None:
    passes = Passes()
    for name, grid in {"a": GRID, "b": Grid(GRID.outer, (1, 1, 5))}.items():
        done = DoneBlocks(tmp_path / name, "x")
        done.begin()
        if name == "a":
            done.mark(0)
        assert passes.work_on(name, grid, _nothing, done)
    results = passes.results(seconds=2.0)
    assert passes.voxels == 6 + 10 and list(passes.summaries) == ["a", "b"]
    assert (results["blocks"], results["blocks_resumed"]) == (3, 1)
    assert results["voxels_per_s"] == (6 + 10) / 2 / 2.0 and results["peak_rss_bytes"] > 0


def test_blocks_of_other_processes_are_theirs(tmp_path: Path) -> None:
    done = DoneBlocks(tmp_path, "x")
    done.begin()
    assert not Passes(part=(1, 2)).work_on("a", GRID, _nothing, done)
    assert done.indices() == {1}
    assert Passes(part=(0, 2)).work_on("a", GRID, _nothing, done)


def test_an_interrupted_pass_ends_the_job_with_the_status_that_says_so(tmp_path: Path) -> None:
    done = DoneBlocks(tmp_path, "x")
    done.begin()

    @goes_on
    def run(config, workdir) -> int:
        def work(block) -> None:
            if block.index == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        Passes().work_on("a", GRID, work, done)
        return 0

    assert run.__name__ == "run"
    assert run(ConfigDict(), tmp_path) == 75 and done.indices() == {0, 1}
    assert run(ConfigDict(), tmp_path) == 0


def test_failed_blocks_are_an_error(tmp_path: Path) -> None:
    def refuse(block) -> None:
        raise InputError("a damaged chunk")

    done = DoneBlocks(tmp_path, "x")
    done.begin()
    with pytest.raises(InputError, match="a damaged chunk"):
        Passes().work_on("a", GRID, refuse, done)


def test_parts_are_those_of_the_same_volumes_and_settings(tmp_path: Path) -> None:
    seen = []

    def count(passes: BlockPasses):
        def work(block) -> None:
            seen.append(block.index)
            write_part(part_path(passes.path("a"), block.index), {"n": np.array([block.index])})

        return work

    passes = BlockPasses(tmp_path, "x", "", 1)
    passes.run("a", GRID, count(passes), only=[0, 2])
    assert seen == [0, 2]
    passes.run("b", GRID, count(passes), only=[])
    assert seen == [0, 2]
    assert not [file for file in _open_files() if file.startswith(f"{tmp_path}/")]
    assert [int(part["n"][0]) for part in passes.parts("a", [0, 2])] == [0, 2]
    again = BlockPasses(tmp_path, "x", "", 1)
    again.run("a", GRID, count(again))
    assert seen == [0, 2] and again.results()["blocks_resumed"] == 3
    other = BlockPasses(tmp_path, "y", "", 1)
    other.run("a", GRID, count(other))
    assert seen == [0, 2, 0, 1, 2]
    other.clear()
    assert not (tmp_path / "parts").exists()


def _open_files() -> list[str]:
    """Returns the files that this process has open; none on systems that do not say it."""
    handles = Path("/proc/self/fd")
    return [os.readlink(h) for h in handles.iterdir() if h.is_symlink()] if handles.exists() else []


def test_interrupted_is_no_error_of_a_block() -> None:
    assert not issubclass(Interrupted, InputError)


def test_a_signal_in_the_last_block_of_a_pass_begins_no_other(tmp_path: Path) -> None:
    """The pass is complete, so it is not stopped; but somebody asked for the end, and the next pass is not begun."""
    worked = []

    def last(block) -> None:
        if block.index == 2:
            os.kill(os.getpid(), signal.SIGINT)

    @goes_on
    def run(config, workdir) -> int:
        passes = Passes()
        for name, work in (("a", last), ("b", lambda block: worked.append(block.index))):
            done = DoneBlocks(tmp_path / name, "x")
            if not done.begun_by_us():
                done.begin()
            passes.work_on(name, GRID, work, done)
        return 0

    assert run(ConfigDict(), tmp_path) == 75 and not worked
    # The same command goes on with the second pass alone.
    assert run(ConfigDict(), tmp_path) == 0 and worked == [0, 1, 2]
