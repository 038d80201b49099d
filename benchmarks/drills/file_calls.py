"""Breaks each call of a job that changes a file, one at a time, and gives the same command again.

A library that is loaded before the others counts the calls below a folder, and kills the process before the n-th of
them, or lets it fail: because the disk is full from then on, or once, with an input/output error. The process imports
emjax and loads its compiled loops once, and is copied (`os.fork`) for each try, so that a try takes some 0.2 s, or some
seconds where a job compiles for a device.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from drills import warm
from drills.file_call_jobs import JOBS, Fields, Job

SOURCE = Path(__file__).with_suffix(".c")
FAULTS = {"SIGKILL": 0, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO}
# A job that compiles starts threads, of which one may be lost when a process is copied: it would wait for ever.
TRY_S = 300
# For `drill_arm`: the process stops before the call, and goes on when it gets SIGCONT.
STOP = -1
# Figures of a run that its interruption changes.
_OF_TIME = ("_per_s", "_s", "peak_rss_bytes", "blocks_resumed")
# Programs are compiled once, in little time: nothing here is about speed.
_QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def build(folder: Path) -> Path | None:
    """Compiles the library; None where there is no C compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "file_calls.so"
    flags = ["-shared", "-fPIC", "-O1", "-w"]
    subprocess.run([compiler, *flags, "-o", library, SOURCE, "-ldl"], check=True)
    return library


def forked(work: Callable[[], int], log: Path) -> int:
    """Runs a function in a copy of this process; returns its exit status, negative for a signal."""
    return _wait(start(work, log))


def start(work: Callable[[], int], log: Path) -> int:
    """Begins to run a function in a copy of this process; returns the number of that process."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        status = work()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _wait(pid: int) -> int:
    """Waits for a copy, and kills it where it does not end."""
    end = time.monotonic() + TRY_S
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 124
        time.sleep(0.01)


class Drill:
    """One job in one folder.

    Args:
        folder: that is made and becomes the working folder.
        library: what `build` returned, with which this process was started.
        job: the job.
    """

    def __init__(self, folder: Path, library: Path, job: Job) -> None:
        self.folder, self.job, self.log = folder, job, folder / "log.txt"
        self._library = ctypes.CDLL(str(library))
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "work").mkdir(parents=True)
        os.chdir(folder)
        assert forked(_make_inputs, self.log) == 0, self.log.read_text()
        if job.needs:
            network = JOBS[job.needs]
            assert self.run(job=network, workdir="network")[0] == 0, self.log.read_text()
        if job.before:
            assert self.run(fields=job.before)[0] == 0, self.log.read_text()
        shutil.copytree("work", "before", symlinks=True)
        status, self.calls = self.run()
        assert status == 0, self.log.read_text()
        warm.load(folder / "loaded.pickle")
        assert forked(lambda: _save(job.outputs), self.log) == 0, self.log.read_text()

    def run(
        self,
        number: int = 0,
        error: int = 0,
        *,
        fields: Fields | None = None,
        job: Job | None = None,
        workdir: str = "work/run",
    ) -> tuple[int, int]:
        """Gives the command; returns its exit status, and how many calls it made where none was broken.

        Args:
            number: of the call that is broken; 0: none is.
            error: of `FAULTS`.
            fields: others than the job's own.
            job: another one.
            workdir: of the command.
        """
        from emjax import main

        counted, job = self.folder / "calls.txt", job or self.job
        command = job.command(job.fields if fields is None else fields, workdir)

        def work() -> int:
            self._library.drill_arm(f"{self.folder}/work".encode(), ctypes.c_long(number), error)
            status = main.main(command)
            calls = self._library.drill_calls()
            self._library.drill_arm(b"", ctypes.c_long(0), 0)
            counted.write_text(str(calls))
            if not number:
                warm.save_loaded(self.folder / "loaded.pickle")
            return status

        status = forked(work, self.log)
        return status, int(counted.read_text()) if not (number or status) else 0

    def second(
        self, command: Sequence[str], prepare: Callable[[], object], *, allowed: bool = False
    ) -> str:
        """Gives a second command while the first is half done; returns what was wrong, '' if nothing was.

        The second must be refused in one line that names the first, or end well where two are allowed; the first must
        end as if it had been alone.

        Args:
            command: arguments of the second.
            prepare: called before the first begins.
            allowed: whether two runs of the job may share a folder.
        """
        from emjax import main

        shutil.rmtree("work")
        shutil.copytree("before", "work", symlinks=True)
        prepare()
        middle = ctypes.c_long((self.calls + 1) // 2)

        def work() -> int:
            self._library.drill_arm(f"{self.folder}/work".encode(), middle, STOP)
            return main.main(self.job.command(self.job.fields))

        first = start(work, self.folder / "first.txt")
        _, status = os.waitpid(first, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return (
                f"the first ended before it was stopped: {(self.folder / 'first.txt').read_text()}"
            )
        try:
            refused = forked(lambda: main.main(command), self.log)
        finally:
            os.kill(first, signal.SIGCONT)
        ended = _wait(first)
        said = self.log.read_text()
        lines = [line for line in said.splitlines() if line.startswith("emjax: ")]
        named = len(lines) == 1 and "is being written by another run" in lines[0]
        right = refused == 2 and named and f"process {first} " in lines[0]
        if not (refused == 0 if allowed else right):
            return f"the second: exit {refused}: {said[-300:]}"
        if ended != 0:
            return f"the first: exit {ended}: {(self.folder / 'first.txt').read_text()[-300:]}"
        if forked(lambda: _compare(self.job.outputs), self.log) != 0:
            return f"wrong: {self.log.read_text()[-300:]}"
        return ""

    def break_call(self, number: int, error: int) -> str:
        """Breaks a call, and gives the command again; returns what was wrong, '' if nothing was."""
        shutil.rmtree("work")
        shutil.copytree("before", "work", symlinks=True)
        first, _ = self.run(number, error)
        said = self.log.read_text()
        if error == 0 and first != -9:
            return f"exit {first} where it was killed"
        if error and (wrong := _not_as_told(first, error, said)):
            return wrong
        again, _ = self.run()
        if again != 0:
            return f"refused: exit {again}: {self.log.read_text()[-300:]}"
        if forked(lambda: _compare(self.job.outputs), self.log) != 0:
            return f"wrong: {self.log.read_text()[-300:]}"
        return ""


def _not_as_told(status: int, error: int, said: str) -> str:
    """Returns what is wrong with how a run ended of which a call failed; '' if nothing is.

    It ends with one line, and with 75, or 2 where that call was the first to ask whether a place can be written. It may
    also go on, where another try succeeds or nothing depends on the call.
    """
    # A run that stops because the disk is full says so as it does of a signal, in its log.
    lines = [s for s in said.splitlines() if s.startswith("emjax: ") or "no room on the disk" in s]
    statuses = (0, 75) if error == errno.ENOSPC else (0, 2, 75)
    if status not in statuses or (status and len(lines) != 1):
        return f"exit {status}, {len(lines)} lines: {said[-300:]}"
    # Writers of HDF5 and TensorStore print traces of their own before the line.
    if status and "Traceback (most recent call last)" in said.rpartition(lines[0])[2]:
        return f"a traceback after the line: {said[-300:]}"
    full = "no room on the disk" in said or "disk is full" in said
    if error == errno.ENOSPC and status and not full:
        return f"exit {status}, but not because the disk is full: {lines[0][:300]}"
    return ""


def _make_inputs() -> int:
    import numpy as np

    from emjax.volumes.create import create_volume

    rng = np.random.default_rng(0)
    shape = (8, 32, 32)
    create_volume("em.zarr", shape, np.uint8, (40, 10, 10), {}).write(
        rng.integers(1, 250, shape, dtype=np.uint8)
    ).result()
    z, y, x = np.indices(shape)
    ids = (z // 4 * 4 + y // 16 * 2 + x // 16 + 1).astype(np.uint64)
    create_volume("ids.zarr", shape, np.uint64, (40, 10, 10), {}).write(ids).result()
    edges = [np.roll(ids, 1, axis) == ids for axis in range(3)]
    noisy = np.clip(np.stack(edges) * 200 + rng.integers(0, 55, (3, *shape)), 0, 255)
    about = {"targets": ["affinity"] * 3, "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]}
    about |= {"scale": 1 / 255, "checkpoint": "x"}
    create_volume("affinities.zarr", noisy.shape, np.uint8, (40, 10, 10), about).write(
        noisy.astype(np.uint8)
    ).result()
    return 0


def _read(address: str) -> object:
    """Returns what must be as after an undisturbed run."""
    import run_states

    path = Path(address)
    if address.endswith(".json"):
        return _without_times(json.loads(path.read_text()))
    if address.endswith(".jsonl"):
        lines = run_states.read_record(path.parent)
        return [{k: v for k, v in line.items() if k != "time"} for line in lines]
    if address.endswith(".safetensors"):
        return path.read_bytes()
    if path.name == "checkpoints":
        return run_states.read_state(path.parent)
    from emjax.blocks.complete import refuse_incomplete
    from emjax.volumes.store import open_volume

    refuse_incomplete(address, "output")
    return open_volume(address).store.read().result()


def _without_times(values: dict[str, object]) -> dict[str, object]:
    return {k: v for k, v in values.items() if not k.endswith(_OF_TIME)}


def _save(outputs: Sequence[str]) -> int:
    import pickle

    Path("expected.pickle").write_bytes(pickle.dumps([_read(address) for address in outputs]))
    return 0


def _compare(outputs: Sequence[str]) -> int:
    import pickle

    import numpy as np
    import run_states

    for address, wanted in zip(
        outputs, pickle.loads(Path("expected.pickle").read_bytes()), strict=True
    ):
        found = _read(address)
        if address.endswith("checkpoints"):
            same = run_states.same(found, wanted)
        elif isinstance(wanted, np.ndarray):
            same = np.array_equal(found, wanted)
        else:
            same = found == wanted
        if not same:
            print(f"{address} is not as after an undisturbed run: {str(found)[:200]}")
            return 1
    return 0


def chosen(calls: int, most: int) -> list[int]:
    """Returns the numbers of the calls to break: all, or `most` of them, evenly spread with the first and the last."""
    if most <= 0 or calls <= most:
        return list(range(1, calls + 1))
    return sorted({1 + round(i * (calls - 1) / max(1, most - 1)) for i in range(most)})


def _start_with(library: Path, compiled: Path, arguments: Sequence[str]) -> int:
    """Starts a script again with the library loaded; returns its exit status.

    Args:
        library: as `build` returned it.
        compiled: folder for compiled programs.
        arguments: of the script, its name first.
    """
    environment = os.environ | {"LD_PRELOAD": str(library), "JAX_PLATFORMS": "cpu"}
    environment |= _QUICK | {"JAX_COMPILATION_CACHE_DIR": str(compiled)}
    return subprocess.run([sys.executable, *arguments], env=environment).returncode


def loaded(workdir: Path, jobs: Iterable[Job]) -> Path | int:
    """Makes a script ready to drill: starts it again where the library is not loaded yet, and imports the jobs.

    Args:
        workdir: of the script, where compiled programs are kept.
        jobs: that will be drilled; they are imported once, before the process is copied.

    Returns:
        The library, or the exit status with which the script ends now.
    """
    library = os.environ.get("LD_PRELOAD", "")
    if not library.endswith("file_calls.so"):
        built = build(Path(tempfile.mkdtemp(prefix="file-calls-")))
        if built is None:
            print("no C compiler, or not Linux: the calls of a run cannot be broken or held up")
            return 2
        return _start_with(built, workdir / "compiled", sys.argv)
    for job in jobs:
        __import__(f"emjax.jobs.{job.config.partition(':')[0]}")
    __import__("run_states")
    return Path(library)
