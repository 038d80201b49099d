"""How everything here is measured: rivals in processes of their own, one run each in turn, medians with quartiles.

Each candidate lives in its own process, so that threads, allocator and peak memory are its own; the parent lets one run
at a time, in an order that turns (ABC, BCA, ...), so that what else the machine does hits all alike.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import re
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# How jobs of emjax start themselves (`emjax.huge_pages`); a rival is started as its users start it.
AS_JOBS_START = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to do a piece of work.

    Attributes:
        make: top-level function that prepares (imports, compiles, warms up) and returns what is timed; what that
            returns, a dictionary of numbers or None, is kept from its last run.
        arguments: of `make`.
        environment: variables of its process.
    """

    make: Callable[..., Callable[[], dict[str, Any] | None]]
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Timing:
    """What was measured of a candidate.

    Attributes:
        seconds: of each run, in order.
        cpu_s: processor seconds of each run, all threads together.
        others: cores that all other processes used meanwhile, of each run; those that a candidate starts are others.
        setup_s: of preparing and the first run, which is not among `seconds`.
        peak_bytes: largest resident memory of its process.
        extra: what its last run returned.
    """

    seconds: list[float]
    cpu_s: list[float]
    others: list[float]
    setup_s: float
    peak_bytes: int
    extra: dict[str, Any]

    @property
    def median(self) -> float:
        """Median of the runs, seconds."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile, seconds."""
        if len(self.seconds) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high


def interleave(
    candidates: Mapping[str, Candidate], repeats: int, cores: int = 0, in_a_row: int = 1
) -> dict[str, Timing]:
    """Measures candidates in turn.

    Args:
        candidates: by name.
        repeats: turns of each, after a first run that does not count.
        cores: that each candidate may use; 0: all. With one, processor seconds can be compared on a busy machine.
        in_a_row: runs that count in each turn; with more than one, after one that does not. What is done over and
            over, as a training step is, finds the memory that it gave back a moment ago; while others have their
            turns, a virtual machine gives it back to its host, and taking it from there costs more than the work.

    Raises:
        RuntimeError: if a candidate fails, with its traceback.
    """
    workers: dict[str, _Worker] = {}
    try:
        for name, candidate in candidates.items():
            workers[name] = _Worker(name, candidate, cores)
        names = list(workers)
        for turn in range(repeats):
            for i in range(len(names)):
                worker = workers[names[(turn + i) % len(names)]]
                if in_a_row > 1:
                    worker.run(counts=False)
                for _ in range(in_a_row):
                    worker.run()
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{turn + 1}/{repeats} rounds")
        return {name: worker.finish() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.stop()


class _Worker:
    def __init__(self, name: str, candidate: Candidate, cores: int) -> None:
        self._name, self._seconds, self._cpu_s, self._others = name, [], [], []
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, candidate, cores))
        before = {key: os.environ.get(key) for key in candidate.environment}
        os.environ.update(candidate.environment)
        try:
            self._process.start()
        finally:
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.update({key: value})
        theirs.close()
        self._setup_s = self._answer()

    def run(self, counts: bool = True) -> None:
        busy = busy_s()
        self._pipe.send("run")
        seconds, cpu_s = self._answer()
        if not counts:
            return
        self._seconds.append(seconds)
        self._cpu_s.append(cpu_s)
        self._others.append(max(0.0, busy_s() - busy - cpu_s) / seconds)

    def finish(self) -> Timing:
        self._pipe.send("finish")
        peak, extra = self._answer()
        return Timing(self._seconds, self._cpu_s, self._others, self._setup_s, peak, extra)

    def stop(self) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()

    def _answer(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"{self._name} died (out of memory?)") from None
        if kind == "error":
            raise RuntimeError(f"{self._name} failed:\n{value}")
        return value


def _serve(pipe: Any, candidate: Candidate, cores: int) -> None:
    """Runs in the candidate's process until the pipe closes."""
    try:
        if cores:
            # Before any thread pool counts the cores that there are.
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
        began = time.perf_counter()
        run = candidate.make(**candidate.arguments)
        extra = run()
        pipe.send(("ok", time.perf_counter() - began))
        while pipe.recv() == "run":
            began, cpu = time.perf_counter(), time.process_time()
            extra = run()
            pipe.send(("ok", (time.perf_counter() - began, time.process_time() - cpu)))
        pipe.send(("ok", (peak_bytes(), extra or {})))
        pipe.recv()
    except EOFError:
        return
    except BaseException:
        pipe.send(("error", traceback.format_exc()))


def busy_s() -> float:
    """Returns the seconds that all cores of this machine have been busy, added up; 0 where that is not told."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, *interrupts = map(int, stat.read_text().split("\n")[0].split()[1:9])
    # The last is what other guests of the same host took from us.
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def peak_bytes() -> int:
    """Returns the largest resident memory of this process since it was started."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would count the parent's memory at the fork, too.
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
