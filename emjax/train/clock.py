"""Measures how much time a run spends waiting for data, waiting for the device, and on everything else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


class Clock:
    """Measures stretches of training, between which the run compiles, saves and evaluates.

    The device works while the host reads: `data` is the time in which the device may have been idle, `device` the time
    in which the host waited for it. If the loader limits a run, `data_wait_s` is large.

    Attributes:
        seconds: length of all stretches together, up to the last `lap`.
        steps: number of steps taken in them.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Makes a clock that does not run yet.

        Args:
            now: returns the time in seconds since any fixed moment.
        """
        self._now = now
        self.seconds = 0.0
        self.steps = 0
        self._began = 0.0
        self._data = 0.0
        self._device = 0.0

    def start(self) -> None:
        """Begins a stretch; drops what was measured since the last `lap`."""
        self._began = self._now()
        self._data = self._device = 0.0

    @contextlib.contextmanager
    def data(self) -> Iterator[None]:
        """Measures the time of the context as waiting for the loader."""
        began = self._now()
        yield
        self._data += self._now() - began

    @contextlib.contextmanager
    def device(self) -> Iterator[None]:
        """Measures the time of the context as starting steps and waiting for their results."""
        began = self._now()
        yield
        self._device += self._now() - began

    def lap(self, steps: int) -> dict[str, float]:
        """Ends a part of the stretch, and begins the next part.

        Args:
            steps: number of steps taken in the part that ends.

        Returns:
            Mean seconds of a step: `step_s` in all, of which `data_wait_s`, `device_s`, and `other_s` for placing
            batches on devices and writing the record.
        """
        now = self._now()
        elapsed, data, device = now - self._began, self._data, self._device
        self.seconds += elapsed
        self.steps += steps
        self._began, self._data, self._device = now, 0.0, 0.0
        return {
            "step_s": elapsed / steps,
            "data_wait_s": data / steps,
            "device_s": device / steps,
            "other_s": max(0.0, elapsed - data - device) / steps,
        }
