"""SIGTERM and Ctrl-C during work on blocks: those begun are finished, no others are begun.

`emjax.train.interrupt` does the same for training, where JAX has to agree between processes; blocks need no jax.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

# What a job returns after stopping early (EX_TEMPFAIL): the same command goes on.
PREEMPTED = 75
# Seconds after which a second Ctrl-C is one.
_TWICE_S = 0.5


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
