"""Engines that work on blocks: in this thread, or in threads of this process; `dask_engine` uses other processes.

An engine tries a block once and reports its outcome. `emjax.blocks.run` decides which blocks are tried, how often, and
what follows from their outcomes, so that this is the same for all engines.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from emjax.errors import InputError, reason
from emjax.geometry.grid import Block
from emjax.runs.disk import is_disk_full, refusal
from emjax.runs.exit_status import INPUT_ERROR
from emjax.runs.memory import peak_rss_bytes

Work = Callable[[Block], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of one try of a block; picklable, since it travels between processes.

    Attributes:
        error: what went wrong, in one line; '' when the block's data is on disk.
        wrong_input: whether the error was an `InputError`, or a limit of the system: another try cannot help.
        disk_full: whether the disk was full: other blocks would fail too, until the user makes room.
        not_begun: whether the block was left out because the run is being stopped.
        place: address of the worker; '' for this process.
        trace: traceback of the error.
        peak_rss_bytes: most memory that the process has held so far, in bytes.
    """

    error: str = ""
    wrong_input: bool = False
    disk_full: bool = False
    not_begun: bool = False
    place: str = ""
    trace: str = ""
    peak_rss_bytes: int = 0


class EngineLost(Exception):
    """The engine, such as the scheduler of a cluster, is gone; the same command continues the run later."""


class Engine(Protocol):
    """Takes blocks and returns their outcomes in any order; a context manager."""

    def capacity(self) -> int:
        """Returns how many blocks the engine holds at a time."""
        ...

    def submit(self, block: Block) -> None:
        """Takes a block."""
        ...

    def wait(self, timeout_s: float) -> list[tuple[int, Outcome]]:
        """Returns the number and outcome of each block that ended; empty if none ended within the time."""
        ...

    def stop(self) -> None:
        """Drops the blocks that were taken and not begun."""
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


def try_block(work: Work, block: Block) -> Outcome:
    """Works on a block once, and returns its outcome; errors are part of the outcome, so that other blocks go on.

    Args:
        work: works on a block, and returns once the block's data is on disk.
        block: the block to work on.
    """
    try:
        work(block)
    except InputError as error:
        return Outcome(error=str(error), wrong_input=True, peak_rss_bytes=peak_rss_bytes())
    except Exception as error:  # noqa: BLE001  (also a network drive that will be there again)
        refused = refusal(error)
        lasting = refused is not None and refused.status == INPUT_ERROR
        return Outcome(
            error=refused.line if refused and lasting else describe(error),
            wrong_input=lasting,
            disk_full=is_disk_full(error),
            trace="" if refused else traceback.format_exc(),
            peak_rss_bytes=peak_rss_bytes(),
        )
    return Outcome(peak_rss_bytes=peak_rss_bytes())


def describe(error: BaseException) -> str:
    """Returns the type and the first line of an error."""
    return f"{type(error).__name__}: {reason(error)}"


class ThisThread:
    """An engine that works on one block at a time in the calling thread, from which accelerators are driven."""

    def __init__(self, work: Work) -> None:
        """Stores the work; begins nothing."""
        self._work = work
        self._ended: list[tuple[int, Outcome]] = []

    def capacity(self) -> int:
        """Returns 1."""
        return 1

    def submit(self, block: Block) -> None:
        """Works on a block."""
        self._ended.append((block.index, try_block(self._work, block)))

    def wait(self, timeout_s: float) -> list[tuple[int, Outcome]]:
        """Returns the number and outcome of the block that ended."""
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Does nothing: a block that was taken is already done."""

    def __enter__(self) -> ThisThread:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""


class Threads:
    """An engine of threads in this process; TensorStore and numpy work without holding Python's lock."""

    def __init__(self, work: Work, num_workers: int) -> None:
        """Stores the work; begins nothing.

        Args:
            work: works on a block; safe to be called by several threads.
            num_workers: number of threads.
        """
        self._work, self._count = work, num_workers
        self._pool = concurrent.futures.ThreadPoolExecutor(num_workers, thread_name_prefix="block")
        self._running: dict[concurrent.futures.Future[Outcome], int] = {}

    def capacity(self) -> int:
        """Returns the number of threads: each block that is taken begins at once."""
        return self._count

    def submit(self, block: Block) -> None:
        """Begins a block."""
        self._running[self._pool.submit(try_block, self._work, block)] = block.index

    def wait(self, timeout_s: float) -> list[tuple[int, Outcome]]:
        """Returns the number and outcome of each block that ended."""
        ended, _ = concurrent.futures.wait(
            self._running, timeout_s, return_when=concurrent.futures.FIRST_COMPLETED
        )
        return [(self._running.pop(future), future.result()) for future in ended]

    def stop(self) -> None:
        """Does nothing: a block that was taken has begun."""

    def __enter__(self) -> Threads:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for the threads to end."""
        self._pool.shutdown()
