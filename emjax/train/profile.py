"""A trace of a few steps for the profiler (xprof, Perfetto)."""

from __future__ import annotations

import os

import jax
from absl import logging
from etils import epath

# Steps before the trace: the first ones still fill caches and queues.
WARMUP_STEPS = 3


class Profile:
    """Traces steps once, early in the run."""

    def __init__(self, folder: epath.Path, num_steps: int) -> None:
        """Waits for the first step.

        Args:
            folder: run folder; the trace goes to `profile/`.
            num_steps: steps to trace; 0: none.
        """
        self._target = folder / "profile"
        self._num_steps = num_steps
        self._seen = 0
        self._tracing = False

    def before_step(self) -> None:
        """Starts or ends the trace when it is time."""
        if self._num_steps and self._seen == WARMUP_STEPS:
            jax.profiler.start_trace(os.fspath(self._target))
            self._tracing = True
        if self._tracing and self._seen == WARMUP_STEPS + self._num_steps:
            self.stop()
        self._seen += 1

    def stop(self) -> None:
        """Ends a trace that is running."""
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
            logging.info("profile written to %s", self._target)
