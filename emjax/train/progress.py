"""Shows the progress of a run: a bar on a terminal, plain lines in a file or a notebook's log."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm


class Progress:
    """Shows step, loss, rate and remaining time on stderr."""

    def __init__(self, total: int, *, shown: bool) -> None:
        """Shows nothing yet; see `begin`.

        Args:
            total: number of steps of the run.
            shown: whether this process shows anything.
        """
        self._total = total
        self._start = 0
        self._shown = shown
        self._began = 0.0
        self._bar: Any = None

    def begin(self, step: int) -> None:
        """Starts the clock: from now on steps are taken, of which the first is compiled already.

        Args:
            step: number of steps done before; more than at the start where a second program was compiled on the way.
        """
        self._start = step
        self._began = time.monotonic()
        self.close()
        if self._shown and sys.stderr.isatty():
            self._bar = tqdm(total=self._total, initial=step, unit="step", dynamic_ncols=True)

    def update(self, step: int, loss: float | None, voxels_per_s: float | None) -> None:
        """Shows loss and rate at a logged step; leaves out what is not known yet."""
        if not self._shown:
            return
        parts = []
        if loss is not None:
            parts.append(f"loss {loss:.4g}")
        if voxels_per_s:
            parts.append(f"{voxels_per_s / 1e6:.3g} Mvoxel/s")
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
            self._bar.set_postfix_str(", ".join(parts))
            return
        done = step - self._start
        if 0 < done and step < self._total:
            left = (time.monotonic() - self._began) / done * (self._total - step)
            parts.append(f"left {format_seconds(left)}")
        print(f"step {step}/{self._total}  {'  '.join(parts)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar, so that what follows starts on its own line."""
        if self._bar is not None:
            self._bar.close()


def format_seconds(seconds: float) -> str:
    """Returns a time in the form h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
