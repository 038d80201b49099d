"""Shows the progress of work on blocks: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

# Seconds between two plain lines.
_SECONDS = 10.0


class BlockProgress:
    """Shows the number of done blocks, the rate and the time left on stderr."""

    def __init__(
        self, what: str, total: int, done: int, voxels: int, *, shown: bool = True
    ) -> None:
        """Starts the clock.

        Args:
            what: name of the work, shown in front.
            total: number of blocks.
            done: number of blocks that were done before.
            voxels: number of voxels in the blocks that are left.
            shown: whether this process shows anything.
        """
        self._what, self._total, self._done = what, total, done
        self._left, self._voxels = voxels, 0
        self._began = self._shown_at = time.monotonic()
        self._lines = shown
        self._bar: Any = None
        if shown and sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=done, unit="block", desc=what, dynamic_ncols=True)

    def update(self, voxels: int) -> None:
        """Counts one more block as done.

        Args:
            voxels: number of voxels in the block.
        """
        self._done += 1
        self._voxels += voxels
        self._left -= voxels
        now = time.monotonic()
        rate = self._voxels / max(now - self._began, 1e-9)
        if self._bar is not None:
            self._bar.update(1)
            self._bar.set_postfix_str(f"{rate / 1e6:.3g} Mvoxel/s")
            return
        if not self._lines or (now - self._shown_at < _SECONDS and self._done < self._total):
            return
        self._shown_at = now
        minutes, seconds = divmod(round(self._left / rate), 60)
        left = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        print(
            f"{self._what}: block {self._done}/{self._total}  {rate / 1e6:.3g} Mvoxel/s  left {left}",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """Ends the bar, so that what follows starts on its own line."""
        if self._bar is not None:
            self._bar.close()
