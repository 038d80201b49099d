"""Where the time of a run goes: waiting for data, waiting for the device, everything else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


class Clock:
    """Measures stretches of training; compiling, saving and evaluating lie between them.

    The device works while the host reads: `data` is the time in which it may have had nothing to do, `device` the
    time in which the host waited for it. A run that is limited by its loader shows it in `data_wait_s`.

    Attributes:
        seconds: of all stretches, up to the last `lap`.
        steps: taken in them.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Begins stopped.

        Args:
            now: seconds since any moment.
        """
        self._now = now
        self.seconds = 0.0
        self.steps = 0
        self._began = 0.0
        self._data = 0.0
        self._device = 0.0

    def start(self) -> None:
        """Begins a stretch; what was measured since the last `lap` is dropped."""
        self._began = self._now()
        self._data = self._device = 0.0

    @contextlib.contextmanager
    def data(self) -> Iterator[None]:
        """Measures waiting for the loader."""
        began = self._now()
        yield
        self._data += self._now() - began

    @contextlib.contextmanager
    def device(self) -> Iterator[None]:
        """Measures starting steps and waiting for their results."""
        began = self._now()
        yield
        self._device += self._now() - began

    def lap(self, steps: int) -> dict[str, float]:
        """Ends a part of the stretch, and begins the next.

        Args:
            steps: taken in it.

        Returns:
            Seconds of each step: `step_s` in all, of which `data_wait_s` and `device_s`, and `other_s`: placing
            batches on devices, and writing the record.
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
