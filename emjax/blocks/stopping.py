"""Handles SIGTERM and Ctrl-C during work on blocks: blocks that were begun are finished, and no others are begun.

`emjax.train.interrupt` does the same for training, where processes have to agree through JAX; blocks need no jax.
Before and after that, while volumes are opened, programs compiled and results written, `emjax.signals` ends the process
with the same exit status.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Any

from emjax.signals import install, restore

# Seconds after the first signal from which on another Ctrl-C counts as a second one.
_TWICE_S = 0.5


class Stopping:
    """Notices that the process is asked to stop; a context manager. A second Ctrl-C raises KeyboardInterrupt.

    Attributes:
        requested: whether the process was asked to stop.
    """

    def __init__(self) -> None:
        """Changes nothing until it is entered."""
        self.requested = False
        self._since = 0.0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        """Installs the handlers."""
        # In another thread than the main one nothing is noticed.
        self._old = install(dict.fromkeys((signal.SIGTERM, signal.SIGINT), self._handle))
        return self

    def __exit__(self, *_: object) -> None:
        """Restores the previous handlers."""
        restore(self._old)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested:
            # A launcher may pass on a Ctrl-C that the terminal also sent to this process: both count as one.
            if number == signal.SIGINT and now - self._since >= _TWICE_S:
                raise KeyboardInterrupt
            return
        self.requested, self._since = True, now
        # Written directly, not logged: the signal may interrupt a call of the logger.
        os.write(2, f"\n{signal.Signals(number).name}: finishing the blocks begun\n".encode())
