"""Traces a few steps for a profiler: TensorBoard reads the folder, Perfetto its `perfetto_trace.json.gz`."""

from __future__ import annotations

import os
from typing import Any

import jax
from absl import logging
from etils import epath

from emjax.config import parse_steps


class Profile:
    """Traces one range of steps that the user named."""

    def __init__(self, folder: epath.Path, steps: str) -> None:
        """Parses the range; traces nothing yet.

        Args:
            folder: run folder; the trace is written to `profile/` in it.
            steps: FROM:TO as in a slice, steps counted from 0: `100:105` traces the five steps after the hundredth;
                '': none.
        """
        self._target = folder / "profile"
        self._first, self._end = parse_steps(steps)
        self._tracing = False

    def before_step(self, step: int, running: Any) -> None:
        """Starts or ends the trace if the range begins or ends at this step.

        Args:
            step: number of steps done before.
            running: results of steps that may still run; they are waited for at both ends, so that the trace contains
                its steps completely and no others.
        """
        if step == self._first and self._end > self._first:
            jax.block_until_ready(running)
            jax.profiler.start_trace(os.fspath(self._target), create_perfetto_trace=True)
            self._tracing = True
        elif step >= self._end:
            self.stop(running)

    def step(self, step: int) -> Any:
        """Returns a context manager that names a step in the trace."""
        return jax.profiler.StepTraceAnnotation("train", step_num=step)

    def stop(self, running: Any = ()) -> None:
        """Ends the trace, if one is running."""
        if self._tracing:
            self._tracing = False
            jax.block_until_ready(running)
            jax.profiler.stop_trace()
            logging.info("profile of steps %d:%d in %s", self._first, self._end, self._target)
