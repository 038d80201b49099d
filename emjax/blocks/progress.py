"""Shows the progress of work on blocks: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from emjax.geometry.grid import Grid

# Seconds between two plain lines.
_SECONDS = 10.0


@dataclasses.dataclass
class Pieces:
    """What a work counts within its blocks, so that its progress is seen before a large block is done.

    Attributes:
        unit: name of a piece, such as 'tile'.
        count: returns the number of pieces in blocks of a grid, given their `[n]` numbers.
    """

    unit: str
    count: Callable[[Grid, np.ndarray], int]
    _listener: Callable[[int], None] | None = None

    def done(self, number: int) -> None:
        """Says that as many further pieces are done; called by the work, in any thread."""
        if self._listener is not None:
            self._listener(number)

    def listen(self, listener: Callable[[int], None] | None) -> None:
        """Chooses what `done` calls; None: nothing."""
        self._listener = listener


class BlockProgress:
    """Shows the number of done blocks or pieces of blocks, the rate and the time left on stderr.

    The time left is that of the work without its beginning: it counts from the first block or piece that is done, since
    programs are compiled and files are opened before that.
    """

    def __init__(
        self,
        what: str,
        total: int,
        done: int,
        voxels: int,
        *,
        pieces: tuple[str, int] | None = None,
        shown: bool = True,
    ) -> None:
        """Starts the clock.

        Args:
            what: name of the work, shown in front.
            total: number of blocks.
            done: number of blocks that were done before.
            voxels: number of voxels in the blocks that are left.
            pieces: name of a piece, and number of pieces in the blocks that are left; None: blocks are counted.
            shown: whether this process shows anything.
        """
        self._what, self._total, self._done = what, total, done
        self._left, self._voxels = voxels, 0
        self._began = self._shown_at = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._lines = shown
        self._lock = threading.Lock()
        # Of what is counted: name, number in all, and done.
        self._unit, self._units, self._counted = "block", total, done
        if pieces is not None:
            (self._unit, self._units), self._counted = pieces, 0
        self._bar: Any = None
        if shown and sys.stderr.isatty():
            self._bar = tqdm(
                total=self._units,
                initial=self._counted,
                unit=self._unit,
                desc=what,
                dynamic_ncols=True,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s [{elapsed}{postfix}]",
            )

    def update(self, voxels: int) -> None:
        """Counts one more block as done.

        Args:
            voxels: number of voxels in the block.
        """
        with self._lock:
            self._done += 1
            self._voxels += voxels
            self._left -= voxels
            self._count(1 if self._unit == "block" else 0, ends=self._done == self._total)

    def piece(self, number: int) -> None:
        """Counts as many pieces of blocks as done."""
        with self._lock:
            self._count(number, ends=False)

    def _count(self, number: int, *, ends: bool) -> None:
        now = time.monotonic()
        # Blocks that failed are tried again, and their pieces come once more.
        self._counted = min(self._counted + number, self._units)
        if self._first is None and number:
            self._first = (now, self._counted)
        parts = []
        if self._voxels:
            parts.append(f"{self._voxels / max(now - self._began, 1e-9) / 1e6:.3g} Mvoxel/s")
        left = self._seconds_left(now)
        if left is not None:
            minutes, seconds = divmod(round(left), 60)
            parts.append(f"left {minutes // 60}:{minutes % 60:02d}:{seconds:02d}")
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(parts), refresh=False)
            self._bar.update(self._counted - self._bar.n)
            return
        if not self._lines or (now - self._shown_at < _SECONDS and not ends):
            return
        self._shown_at = now
        print(
            "  ".join([f"{self._what}: {self._unit} {self._counted}/{self._units}", *parts]),
            file=sys.stderr,
            flush=True,
        )

    def _seconds_left(self, now: float) -> float | None:
        """Returns the time left, s; None before anything is done of which the time is known without the beginning."""
        if self._counted == self._units:
            return 0.0
        if self._first is None or self._counted == self._first[1]:
            return None
        since, counted = self._first
        return (now - since) / (self._counted - counted) * (self._units - self._counted)

    def close(self) -> None:
        """Ends the bar, so that what follows starts on its own line."""
        if self._bar is not None:
            self._bar.close()
