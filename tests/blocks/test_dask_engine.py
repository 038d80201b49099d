"""Blocks in worker processes: done once, whatever is lost."""

from __future__ import annotations

import dataclasses
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import distributed
import pytest
from etils import epath
from ml_collections import ConfigDict

from emjax.blocks import dask_clusters, dask_engine, dask_task
from emjax.blocks.done import DoneBlocks
from emjax.blocks.engines import Outcome
from emjax.blocks.passes import goes_on
from emjax.blocks.run import run_blocks
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid

GRID = Grid(Box((0, 0, 0), (2, 3, 40)), (2, 3, 4))
# Workers cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes a file for each block, and does to some of them what the test wants.

    Attributes:
        folder: of the files, and of a log of what was begun.
        errors: number of a block -> the error that it raises each time.
        killed: blocks that kill their worker the first time.
        seconds: that each takes.
    """

    folder: str
    errors: tuple[tuple[int, Exception], ...] = ()
    killed: tuple[int, ...] = ()
    seconds: float = 0.0

    def __call__(self, block: Block) -> None:
        folder = Path(self.folder)
        with open(folder / "log", "a") as log:
            log.write(f"{block.index} {os.getpid()} {'jax' in sys.modules}\n")
        time.sleep(self.seconds)
        if block.index in self.killed and not (folder / f"killed{block.index}").exists():
            (folder / f"killed{block.index}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        for index, error in self.errors:
            if index == block.index:
                raise error
        (folder / f"{block.index}.data").write_text(str(block.core))

    def begun(self) -> list[tuple[int, int]]:
        """Number and process of each block, in the order of their beginning."""
        lines = (Path(self.folder) / "log").read_text().splitlines()
        assert all(line.endswith("False") for line in lines), "a worker imported jax"
        return [tuple(map(int, line.split()[:2])) for line in lines]


@pytest.fixture
def done(tmp_path: Path) -> DoneBlocks:
    done = DoneBlocks(tmp_path / "blocks", "a")
    done.begin()
    return done


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two workers that somebody else started."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit=0,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        yield cluster.scheduler_address


def _run(work, done: DoneBlocks, cluster: str, **options):
    fields = {"what": "test", "num_workers": 2, "backoff_s": 0.01} | options
    return run_blocks(GRID, work, done, cluster=cluster, **fields)


def test_processes_of_this_machine_and_one_of_them_lost(
    done: DoneBlocks, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    work = Writer(str(tmp_path), killed=(3,))
    summary = _run(work, done, "local")
    assert summary.complete and not summary.failures and summary.voxels == GRID.outer.volume
    assert {int(path.stem) for path in tmp_path.glob("*.data")} == set(range(10))
    begun = [index for index, _ in work.begun()]
    assert begun.count(3) == 2 and len(begun) <= 12
    assert len({pid for _, pid in work.begun()} - {os.getpid()}) >= 2
    # Neither the folder of the user nor that of the marks is left with anything.
    ours = {f"{i}.data" for i in range(10)} | {"log", "killed3", "blocks"}
    assert {path.name for path in tmp_path.iterdir()} == ours
    assert not list(done.folder.glob("running-*"))
    assert summary.results()["peak_rss_bytes"] >= summary.peak_rss_bytes > 1 << 20


def test_outcomes_that_a_dying_worker_took_with_it_are_waited_for(tmp_path: Path) -> None:
    """Dask calls such a block lost until another worker has repeated it: neither ended nor without a scheduler."""

    class Repeated:
        status, key = "lost", "3"

        def add_done_callback(self, ended) -> None:
            # As after the other worker's turn.
            self.status = "finished"
            ended(self)

    class Client:
        def gather(self, futures):
            return [Outcome(place="another")] * len(futures)

    engine = dask_engine.DaskWorkers(Writer(str(tmp_path)), "local", 2, epath.Path(tmp_path))
    engine._client, future = Client(), Repeated()
    engine._running[future] = 3
    engine._ended.put(future)
    assert engine.wait(0.01) == []
    assert engine.wait(0.01) == [(3, Outcome(place="another"))]


def test_an_existing_scheduler_goes_on_where_another_engine_was(
    done: DoneBlocks, tmp_path: Path, scheduler: str
) -> None:
    done.mark(0, 7)
    work = Writer(str(tmp_path))
    summary = _run(work, done, scheduler)
    assert summary.complete and summary.blocks_resumed == 2
    assert sorted(index for index, _ in work.begun()) == [1, 2, 3, 4, 5, 6, 8, 9]


def test_relative_addresses_start_where_the_command_was_given(
    done: DoneBlocks, tmp_path: Path, scheduler: str, monkeypatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert _run(Writer("here"), done, scheduler).complete
    assert len(list((tmp_path / "here").glob("*.data"))) == 10


def test_wrong_input_arrives_as_such(done: DoneBlocks, tmp_path: Path, scheduler: str) -> None:
    work = Writer(str(tmp_path), errors=((4, InputError("a.zarr: chunk 4 is torn")),))
    with pytest.raises(InputError, match="^a.zarr: chunk 4 is torn$"):
        _run(work, done, scheduler)
    assert [index for index, _ in work.begun()].count(4) == 1
    # The files of all that was done are marked.
    assert done.indices() == {int(path.stem) for path in tmp_path.glob("*.data")}


def test_other_errors_are_accounted_with_their_worker(
    done: DoneBlocks, tmp_path: Path, scheduler: str
) -> None:
    work = Writer(str(tmp_path), errors=((2, OSError("stale file handle")),))
    summary = _run(work, done, scheduler, retries=1)
    assert set(summary.failures) == {2} and not summary.complete and not summary.stopped
    assert [index for index, _ in work.begun()].count(2) == 2
    with pytest.raises(
        InputError, match=r"1 of 10 .* block 2 \[0:2,0:3,8:12\]: OSError: stale .* on tcp://127.*\)"
    ):
        summary.check(GRID)
    assert done.indices() == set(range(10)) - {2}


def test_a_block_that_kills_its_workers_fails_alone(done: DoneBlocks, tmp_path: Path) -> None:
    class Killer(Writer):
        def __call__(self, block: Block) -> None:
            super().__call__(block)
            if block.index == 5:
                os.kill(os.getpid(), signal.SIGKILL)

    summary = _run(Killer(str(tmp_path)), done, "local", retries=1, num_workers=1)
    assert list(summary.failures) == [5]
    assert "lost: killed, or out of memory on tcp://" in summary.failures[5]
    assert done.indices() == set(range(10)) - {5}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_blocks_begun_be_finished(
    done: DoneBlocks, tmp_path: Path, scheduler: str, number: int
) -> None:
    work = Writer(str(tmp_path), seconds=0.3)

    def stop() -> None:
        while not (tmp_path / "log").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop)
    thread.start()
    summary = _run(work, done, scheduler)
    thread.join()
    assert summary.stopped and not summary.complete
    assert done.indices() == {index for index, _ in work.begun()}
    assert 0 < len(done.indices()) < 10


def test_a_scheduler_that_dies_stops_the_run(done: DoneBlocks, tmp_path: Path, caplog) -> None:
    code = (
        "import distributed, time\n"
        "if __name__ == '__main__':\n"
        "    c = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)\n"
        "    print(c.scheduler_address, flush=True)\n"
        "    time.sleep(60)\n"
    )
    (tmp_path / "scheduler.py").write_text(code)
    command = [sys.executable, str(tmp_path / "scheduler.py")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    work = Writer(str(tmp_path), seconds=0.2)

    def kill() -> None:
        while not (tmp_path / "2.data").exists():
            time.sleep(0.01)
        process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    summary = _run(work, done, address)
    thread.join()
    process.wait()
    assert summary.stopped and not summary.complete and len(done.indices()) >= 2
    assert "is gone" in caplog.text


def test_no_more_blocks_are_handed_out_than_workers_need(
    tmp_path: Path, scheduler: str, monkeypatch
) -> None:
    monkeypatch.setattr(dask_engine, "_QUEUED", 4)
    grid = Grid(Box((0, 0, 0), (1, 1, 10**6)), (1, 1, 1))
    done = DoneBlocks(tmp_path / "blocks", "a")
    done.begin()
    most = 0
    submit = dask_engine.DaskWorkers.submit

    def count(self, block: Block) -> None:
        nonlocal most
        submit(self, block)
        most = max(most, len(self._running))
        if block.index == 100:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(dask_engine.DaskWorkers, "submit", count)
    summary = run_blocks(grid, Writer(str(tmp_path)), done, what="test", cluster=scheduler)
    assert summary.stopped and most == 4 + 2 * 2
    assert 90 < len(done.indices()) < 110


def test_workers_of_other_versions_are_refused(
    done: DoneBlocks, tmp_path: Path, scheduler: str, monkeypatch
) -> None:
    versions = dask_task.versions() | {"emjax": "9.9"}
    monkeypatch.setattr(dask_task, "versions", lambda: versions)
    with pytest.raises(InputError, match=r"worker tcp://.*\) has emjax \S+ instead of 9.9"):
        _run(Writer(str(tmp_path)), done, scheduler)
    assert not (tmp_path / "log").exists()


def test_workers_that_do_not_see_the_files_are_refused(
    done: DoneBlocks, tmp_path: Path, scheduler: str, monkeypatch
) -> None:
    write = dask_engine.DaskWorkers._write_token

    def hide(self) -> None:
        write(self)
        self._token.unlink()

    monkeypatch.setattr(dask_engine.DaskWorkers, "_write_token", hide)
    with pytest.raises(InputError, match=r"worker tcp://.* does not see .*running-.*file system"):
        _run(Writer(str(tmp_path)), done, scheduler)
    assert not (tmp_path / "log").exists()


def test_a_run_that_was_killed_leaves_no_work_behind(
    done: DoneBlocks, tmp_path: Path, scheduler: str
) -> None:
    """Its blocks may still wait at the scheduler when the next run begins."""
    (done.folder / "running-old").write_text("")
    assert _run(Writer(str(tmp_path)), done, scheduler).complete
    assert not (done.folder / "running-old").exists()


def test_no_scheduler_is_told_in_one_line(done: DoneBlocks, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dask_clusters, "_CONNECT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(InputError, match="tcp://127.0.0.1:1: no dask scheduler answers") as error:
        _run(Writer(str(tmp_path)), done, "tcp://127.0.0.1:1")
    assert time.monotonic() - began < 5 and "\n" not in str(error.value)
    assert not list(done.folder.glob("running-*"))


def test_a_worker_without_emjax_is_told(
    done: DoneBlocks, tmp_path: Path, scheduler: str, monkeypatch
) -> None:
    """As it would be without the package: what a task calls cannot be imported."""

    class Call:
        def __init__(self, task: object) -> None:
            pass

        def __reduce__(self) -> tuple:
            return (importlib.import_module, ("emjax_of_another_environment",))

    monkeypatch.setattr(dask_task, "Call", Call)
    with pytest.raises(InputError, match=r"cannot import emjax .*the same environment"):
        _run(Writer(str(tmp_path)), done, scheduler)


def test_workers_are_waited_for(done: DoneBlocks, tmp_path: Path, caplog) -> None:
    """A batch system may start them long after the command."""
    with distributed.LocalCluster(
        n_workers=0,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        timer = threading.Timer(1.0, cluster.scale, [1])
        timer.start()
        assert _run(Writer(str(tmp_path)), done, cluster.scheduler_address).complete
        timer.join()
        assert "waiting for workers" in caplog.text


def test_a_signal_while_there_are_no_workers_ends_the_run(done: DoneBlocks, tmp_path: Path) -> None:
    with distributed.LocalCluster(
        n_workers=0,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        timer = threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGTERM])
        timer.start()
        summary = _run(Writer(str(tmp_path)), done, cluster.scheduler_address)
    assert summary.stopped and done.indices() == set()


def test_a_port_that_says_nothing_is_waited_for_as_long_as_promised(
    done: DoneBlocks, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(dask_clusters, "_CONNECT_S", 0.5)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match="no dask scheduler answers"):
            _run(Writer(str(tmp_path)), done, address)
    assert time.monotonic() - began < 5


def test_passes_of_a_job_share_their_workers(tmp_path: Path) -> None:
    work, processes = Writer(str(tmp_path)), []
    with dask_clusters.kept("local"):
        for name in ("a", "b"):
            done = DoneBlocks(tmp_path / name, name)
            done.begin()
            assert _run(work, done, "local", num_workers=1).complete
            processes.append({process for _, process in work.begun()})
    assert processes[0] == processes[1] and len(processes[1]) == 1
    (pid,) = processes[1]
    assert not Path(f"/proc/{pid}").exists()


def test_nothing_is_written_before_the_scheduler_has_answered(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dask_clusters, "_CONNECT_S", 0.5)

    @goes_on
    def job(config: ConfigDict, workdir: object) -> int:
        (tmp_path / "output").touch()
        return 0

    with pytest.raises(InputError, match="no dask scheduler answers"):
        job(ConfigDict({"cluster": "tcp://127.0.0.1:1"}), tmp_path)
    assert not list(tmp_path.iterdir())
