"""Every block once: stopped, killed, failing, shared between threads and processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from emjax.blocks.done import DoneBlocks
from emjax.blocks.run import check_aligned, count_voxels, run_blocks
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid

GRID = Grid(Box((0, 0, 0), (4, 6, 7)), (2, 3, 4))


class Counter:
    """Work that counts how often each voxel is written, and fails where it is told to."""

    def __init__(self, errors: dict[int, list[Exception]] | None = None) -> None:
        self.count = np.zeros(GRID.outer.size, int)
        self.order: list[int] = []
        self._errors = errors or {}
        self._lock = threading.Lock()

    def __call__(self, block: Block) -> None:
        with self._lock:
            self.order.append(block.index)
            if self._errors.get(block.index):
                raise self._errors[block.index].pop(0)
            self.count[block.core.slices] += 1


@pytest.fixture
def done(tmp_path: Path) -> DoneBlocks:
    done = DoneBlocks(tmp_path / "blocks", "a")
    done.begin()
    return done


def _run(work, done: DoneBlocks, **options):
    return run_blocks(GRID, work, done, what="test", backoff_s=0, **options)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_each_block_once(done: DoneBlocks, num_workers: int) -> None:
    work = Counter()
    summary = _run(work, done, num_workers=num_workers)
    assert (work.count == 1).all()
    assert summary.complete and not summary.stopped and not summary.failures
    assert (summary.blocks, summary.blocks_resumed, summary.voxels) == (8, 0, 4 * 6 * 7)
    results = summary.results()
    assert results["voxels_per_s"] > 0 and results["peak_rss_bytes"] > 1 << 20


def test_what_is_done_is_not_done_again(done: DoneBlocks) -> None:
    for index in (0, 5):
        done.mark(index)
    work = Counter()
    summary = _run(work, done)
    assert work.order == [1, 2, 3, 4, 6, 7]
    assert summary.blocks_resumed == 2 and summary.complete
    again = _run(work, done)
    assert len(work.order) == 6 and again.blocks_resumed == 8
    assert "voxels_per_s" not in again.results()


def test_processes_share_a_grid_by_their_number(done: DoneBlocks) -> None:
    work = Counter()
    first = _run(work, done, rank=1, world=3)
    assert work.order == [1, 4, 7] and not first.complete
    _run(work, done, rank=0, world=3)
    last = _run(work, done, rank=2, world=3, num_workers=2)
    assert (work.count == 1).all() and last.complete
    with pytest.raises(InputError, match="rank=3 must be 0 to 2"):
        _run(work, done, rank=3, world=3)


def test_an_error_that_passes_is_tried_again(done: DoneBlocks) -> None:
    work = Counter({2: [OSError("busy"), OSError("busy")]})
    summary = _run(work, done, retries=2)
    assert work.order.count(2) == 3 and summary.complete and not summary.failures


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_that_stays_is_accounted_and_the_others_go_on(
    done: DoneBlocks, num_workers: int
) -> None:
    work = Counter({2: [OSError("no such disk")] * 9, 6: [RuntimeError("torn chunk")] * 9})
    summary = _run(work, done, retries=1, num_workers=num_workers)
    assert summary.failures == {2: "OSError: no such disk", 6: "RuntimeError: torn chunk"}
    assert not summary.complete and not summary.stopped
    assert done.indices() == {0, 1, 3, 4, 5, 7}
    with pytest.raises(
        InputError, match=r"2 of 8 blocks failed.*block 2 \[0:2,3:6,0:4\].*no such disk"
    ):
        summary.check(GRID)
    _run(Counter(), done).check(GRID)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_wrong_input_is_not_tried_again(done: DoneBlocks, num_workers: int) -> None:
    work = Counter({1: [InputError("not finite")] * 9})
    with pytest.raises(InputError, match="not finite"):
        _run(work, done, num_workers=num_workers)
    assert work.order.count(1) == 1 and 7 not in work.order


def test_a_volume_of_failures_is_left_early(tmp_path: Path) -> None:
    done = DoneBlocks(tmp_path, "a")
    done.begin()
    tried = []

    def work(block: Block) -> None:
        tried.append(block.index)
        raise OSError("disk full")

    summary = run_blocks(
        Grid(Box((0, 0, 0), (1, 1, 1000)), (1, 1, 1)), work, done, what="", retries=0
    )
    assert len(tried) == len(summary.failures) == 16


@pytest.mark.parametrize("num_workers", [1, 4])
def test_others_are_not_begun_while_many_wait_for_another_try(
    tmp_path: Path, num_workers: int
) -> None:
    """A network drive that is away for a moment costs tries of a few blocks, not of a million."""
    done = DoneBlocks(tmp_path, "a")
    done.begin()
    tried: dict[int, int] = {}
    lock = threading.Lock()

    def work(block: Block) -> None:
        with lock:
            tried[block.index] = tried.get(block.index, 0) + 1
            if sum(tried.values()) <= 30:
                raise OSError("host is down")

    grid = Grid(Box((0, 0, 0), (1, 1, 200)), (1, 1, 1))
    options = {"what": "", "retries": 3, "backoff_s": 0.05, "num_workers": num_workers}
    began = time.monotonic()
    summary = run_blocks(grid, work, done, **options)
    assert summary.complete and not summary.failures and time.monotonic() - began > 0.05
    assert 10 <= sum(count > 1 for count in tried.values()) <= 16 + num_workers


def test_a_mark_that_cannot_be_written_is_a_failure(done: DoneBlocks, monkeypatch) -> None:
    real, errors = done.mark, [OSError(errno.EIO, "Input/output error")]

    def mark(*indices: int) -> None:
        if errors:
            raise errors.pop()
        real(*indices)

    monkeypatch.setattr(done, "mark", mark)
    work = Counter()
    assert _run(work, done).complete and work.order.count(0) == 2
    done.begin()
    errors.append(OSError(errno.ENOSPC, "No space left on device"))
    summary = _run(Counter(), done)
    assert summary.stopped and not summary.failures and done.indices() == set()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        ValueError(
            "RESOURCE_EXHAUSTED: Failed to write: a [OS error 28: ENOSPC No space left on device]"
        ),
    ],
)
def test_a_full_disk_stops_the_run_at_once(done: DoneBlocks, error: Exception, caplog) -> None:
    work = Counter({2: [error] * 9})
    summary = _run(work, done)
    assert summary.stopped and not summary.failures and work.order == [0, 1, 2]
    said = [message for message in caplog.messages if "make room" in message]
    assert len(said) == 1 and "block 2 [0:2,3:6,0:4]" in said[0] and "\n" not in said[0]
    assert _run(work, done, num_workers=2).stopped
    assert _run(Counter(), done).complete


def test_voxels_are_counted_without_going_over_the_blocks() -> None:
    grid = Grid(Box((5, 0, 0), (5, 6, 7)), (2, 3, 4))
    assert count_voxels(grid, np.arange(len(grid))) == 5 * 6 * 7
    # By hand: the last block is 1 x 3 x 3, the one before it 1 x 3 x 4.
    assert count_voxels(grid, np.array([len(grid) - 1, len(grid) - 2])) == 9 + 12
    assert count_voxels(grid, np.array([], int)) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_signal_lets_the_block_be_finished(
    done: DoneBlocks, number: int, num_workers: int
) -> None:
    work = Counter()

    def stopped(block: Block) -> None:
        work(block)
        if block.index == 2:
            os.kill(os.getpid(), number)
            time.sleep(0.05)

    summary = _run(stopped, done, num_workers=num_workers)
    assert summary.stopped and not summary.complete
    assert done.indices() == set(work.order) >= {0, 1, 2} and len(work.order) < 8
    assert _run(work, done).complete
    assert (work.count == 1).all()


_WORKER = """
import sys, time
from pathlib import Path
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.blocks.run import run_blocks
from emjax.blocks.done import DoneBlocks
assert "jax" not in sys.modules
folder = Path(sys.argv[1])
done = DoneBlocks(folder / "blocks", "a")
if not done.begun():
    done.begin()
def work(block):
    with open(folder / "log", "a") as log:
        log.write(f"{block.index}\\n")
    time.sleep(0.02)
    (folder / f"{block.index}.data").write_text("x" * 1000)
run_blocks(Grid(Box((0, 0, 0), (1, 1, 40)), (1, 1, 1)), work, done, what="test")
"""


def test_killed_at_any_instant_it_goes_on(tmp_path: Path) -> None:
    """SIGKILL leaves no time to tidy up; at most the block that was running is done twice."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", _WORKER, str(tmp_path)]
    for target in (7, 19):
        process = subprocess.Popen(command)
        while not log.exists() or len(log.read_text().splitlines()) < target:
            time.sleep(0.005)
            assert process.poll() is None
        process.kill()
        process.wait()
        for index in DoneBlocks(tmp_path / "blocks", "a").indices():
            assert (tmp_path / f"{index}.data").read_text() == "x" * 1000
    subprocess.run(command, check=True)
    begun = [int(line) for line in log.read_text().split()]
    assert sorted(set(begun)) == list(range(40)) and len(begun) <= 42
    assert DoneBlocks(tmp_path / "blocks", "a").indices() == set(range(40))


def test_blocks_that_share_a_shard_are_refused() -> None:
    check_aligned(GRID, (2, 3, 4))
    check_aligned(GRID, (1, 3, 2))
    # One block along z: it may end within a shard.
    check_aligned(Grid(Box((0, 0, 0), (2, 6, 7)), (2, 3, 4)), (8, 3, 4))
    with pytest.raises(InputError, match="no multiple of the output's shards"):
        check_aligned(GRID, (2, 2, 4))
