"""Handles SIGTERM and Ctrl-C in training: the loop finishes its step and saves, so that the run can be continued."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

from emjax.signals import install, restore


class Interrupt:
    """Notices that the process is asked to stop; a context manager around the loop.

    With several processes, JAX's own service receives SIGTERM on any of them and makes all stop at
    the same step; Ctrl-C is passed on to it as SIGTERM. With one process there is no such service,
    so this class handles both signals. A second Ctrl-C raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        """Changes nothing until it is entered."""
        self._requested = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        """Installs the handlers."""
        # In another thread than the main one nothing is noticed.
        if jax.process_count() == 1:
            self._old = install(dict.fromkeys((signal.SIGTERM, signal.SIGINT), self._handle))
        else:
            self._old = install({signal.SIGINT: self._hand_on})
        return self

    def __exit__(self, *_: object) -> None:
        """Restores the previous handlers."""
        restore(self._old)

    def reached(self, step: int) -> bool:
        """Whether to save and stop after this step; every process must call it after every step."""
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
        # Written directly, not logged: the signal may interrupt a call of the logger.
        os.write(2, f"\n{signal.Signals(number).name}: finishing the step and saving\n".encode())
