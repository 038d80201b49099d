"""SIGTERM and Ctrl-C: the loop finishes its step, saves, and says that it wants to go on."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils


class Interrupt:
    """Notices that the process is asked to stop; a context manager round the loop.

    With several processes JAX's own service hears SIGTERM on any of them and makes all stop at the
    same step; Ctrl-C is handed on to it. With one process nobody listens, so a handler is installed
    for both. A second Ctrl-C stops at once.
    """

    def __init__(self) -> None:
        """Changes nothing until it is entered."""
        self._requested = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        """Installs the handlers."""
        # Python lets only the main thread install handlers; a notebook's worker thread goes
        # without.
        alone = jax.process_count() == 1
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT) if alone else (signal.SIGINT,):
                self._old[number] = signal.signal(number, self._handle if alone else self._hand_on)
        return self

    def __exit__(self, *_: object) -> None:
        """Puts back those that were there before."""
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def reached(self, step: int) -> bool:
        """Whether to save and leave after this step; every process must ask after every step."""
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self._requested

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self._handle(number, frame)
        os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._requested = True
        # Not logging: the signal may come in the middle of a line that is being logged.
        os.write(2, f"\n{signal.Signals(number).name}: finishing the step and saving\n".encode())
