"""Where blocks are worked on: in this thread, in threads of this process; `dask_engine` has other processes.

An engine tries a block once and says how it went; which blocks, how often and what becomes of them is for
`blockwise` to decide, which is therefore the same for all engines.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from emjax.errors import InputError
from emjax.geometry.grid import Block
from emjax.runs.disk import is_disk_full
from emjax.runs.memory import peak_rss_bytes

Work = Callable[[Block], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one try of a block went; travels between processes.

    Attributes:
        error: what went wrong, one line; '' when the block's data is on disk.
        wrong_input: whether it was an `InputError`: no other try can help.
        disk_full: whether there was no room: no other block can help, but the user can.
        not_begun: whether the try was left out, since the run is being stopped.
        place: which worker it was; '' in this process.
        trace: where in the code the error came from.
        peak_rss_bytes: most memory that the process has held so far.
    """

    error: str = ""
    wrong_input: bool = False
    disk_full: bool = False
    not_begun: bool = False
    place: str = ""
    trace: str = ""
    peak_rss_bytes: int = 0


class EngineLost(Exception):
    """The engine is not there any more, such as the scheduler of a cluster; the same command can go on later."""


class Engine(Protocol):
    """Takes blocks, and gives back how they went in any order; a context manager."""

    def capacity(self) -> int:
        """Returns how many blocks it takes at a time."""
        ...

    def submit(self, block: Block) -> None:
        """Takes a block."""
        ...

    def wait(self, timeout_s: float) -> list[tuple[int, Outcome]]:
        """Returns the blocks that ended, by their numbers; none when the time is over."""
        ...

    def stop(self) -> None:
        """Leaves out the blocks that it took and has not begun."""
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
    """Works on a block once; whatever goes wrong, the other blocks go on.

    Args:
        work: returns once the block's data is on disk.
        block: to work on.
    """
    try:
        work(block)
    except InputError as error:
        return Outcome(error=str(error), wrong_input=True, peak_rss_bytes=peak_rss_bytes())
    except Exception as error:  # noqa: BLE001  (also a network drive that will be there again)
        return Outcome(
            error=describe(error),
            disk_full=is_disk_full(error),
            trace=traceback.format_exc(),
            peak_rss_bytes=peak_rss_bytes(),
        )
    return Outcome(peak_rss_bytes=peak_rss_bytes())


def describe(error: BaseException) -> str:
    """Returns kind and first line of an error."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


class ThisThread:
    """One block after the other, in the thread that asks: accelerators are driven from there."""

    def __init__(self, work: Work) -> None:
        """Begins nothing."""
        self._work = work
        self._ended: list[tuple[int, Outcome]] = []

    def capacity(self) -> int:
        """Returns 1."""
        return 1

    def submit(self, block: Block) -> None:
        """Works on a block."""
        self._ended.append((block.index, try_block(self._work, block)))

    def wait(self, timeout_s: float) -> list[tuple[int, Outcome]]:
        """Returns the block that ended."""
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Does nothing: what was taken is done."""

    def __enter__(self) -> ThisThread:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""


class Threads:
    """So many blocks at a time in threads of this process; TensorStore and numpy work without Python's lock."""

    def __init__(self, work: Work, num_workers: int) -> None:
        """Begins nothing.

        Args:
            work: safe to be called by several threads.
            num_workers: threads.
        """
        self._work, self._count = work, num_workers
        self._pool = concurrent.futures.ThreadPoolExecutor(num_workers, thread_name_prefix="block")
        self._running: dict[concurrent.futures.Future[Outcome], int] = {}

    def capacity(self) -> int:
        """Returns the number of threads: what is taken is begun."""
        return self._count

    def submit(self, block: Block) -> None:
        """Begins a block."""
        self._running[self._pool.submit(try_block, self._work, block)] = block.index

    def wait(self, timeout_s: float) -> list[tuple[int, Outcome]]:
        """Returns the blocks that ended."""
        ended, _ = concurrent.futures.wait(
            self._running, timeout_s, return_when=concurrent.futures.FIRST_COMPLETED
        )
        return [(self._running.pop(future), future.result()) for future in ended]

    def stop(self) -> None:
        """Does nothing: what was taken is begun."""

    def __enter__(self) -> Threads:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Waits for the threads."""
        self._pool.shutdown()
