"""SIGTERM and Ctrl-C during work on blocks: those begun are finished, no others are begun.

`emjax.train.interrupt` does the same for training, where JAX has to agree between processes; blocks need no jax.
Before and after both listen, while volumes are opened, programs compiled and results written, SIGTERM ends the process
with their status.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Seconds after which a second Ctrl-C is one.
_TWICE_S = 0.5


class StoppedError(BaseException):
    """SIGTERM came where nothing has to be finished; no `except Exception` may take it for a failure of its own."""


@contextlib.contextmanager
def raises_on_sigterm() -> Iterator[None]:
    """Turns SIGTERM into an exception, unless Python code handles it already.

    A launcher that takes machines away tells by the status whether to give the command again, and nothing that a job
    does is lost by repeating it. Not for processes that JAX has joined: its service listens, and Python cannot see it.

    Raises:
        StoppedError: on SIGTERM.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise StoppedError

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Stopping:
    """Notices that the process is asked to stop; a context manager. A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        """Changes nothing until it is entered."""
        self.requested = False
        self._since = 0.0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        """Installs the handlers."""
        # Python lets only the main thread install handlers; a notebook's worker thread goes without.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Puts back those that were there before."""
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested:
            # Launchers pass on what the terminal has sent to their processes as well: that is one Ctrl-C.
            if number == signal.SIGINT and now - self._since >= _TWICE_S:
                raise KeyboardInterrupt
            return
        self.requested, self._since = True, now
        # Not logging: the signal may come in the middle of a line that is being logged.
        os.write(2, f"\n{signal.Signals(number).name}: finishing the blocks begun\n".encode())
