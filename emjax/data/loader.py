"""Loads global batches: batch k of size b holds examples `k b` to `k b + b - 1`, whichever processes read them."""

from __future__ import annotations

import threading
from typing import Any

import grain
import numpy as np

from emjax.data.source import Crops, Example
from emjax.errors import InputError
from emjax.freed_memory import keep_freed_memory

# Length of the endless sequence, which grain requires; longer than any run.
_ENDLESS = 2**40
# Most rows that one thread reads at once: their reads overlap, and they are stacked while they are in the cache.
_ROWS_AT_ONCE = 8


class _Parts:
    """The rows of all batches that this process reads, as a sequence of parts of a few rows."""

    def __init__(self, crops: Crops, batch_size: int, first: int, rows: int, part: int) -> None:
        self._crops = crops
        self._batch_size = batch_size
        self._first = first
        self._rows = rows
        self._part = part
        self._lock = threading.Lock()
        self.rows_read = 0

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, index: int) -> Example:
        batch, row = divmod(int(index) * self._part, self._rows)
        start = batch * self._batch_size + self._first + row
        part = self._crops.stack(range(start, start + self._part))
        with self._lock:
            self.rows_read += self._part
        return part

    def __repr__(self) -> str:
        return f"Parts({self._first}:{self._first + self._rows} of {self._batch_size})"


class Batches:
    """An endless sequence of this process's rows of the global batches.

    Its whole state is `next_batch`, the number of the batch that is returned next; batches read ahead do not count.

    Args:
        crops: the examples.
        batch_size: rows of a global batch.
        process_index: number of this process.
        process_count: number of processes that share a batch; each reads only its rows.
        num_threads: number of threads that read, each up to eight rows at once.
        prefetch_batches: number of batches read ahead.

    Raises:
        InputError: if the batch cannot be shared evenly.
    """

    def __init__(
        self,
        crops: Crops,
        batch_size: int,
        *,
        process_index: int = 0,
        process_count: int = 1,
        num_threads: int = 2,
        prefetch_batches: int = 2,
    ) -> None:
        if batch_size % process_count:
            raise InputError(
                f"data.batch_size={batch_size} is not divisible by {process_count} processes; use "
                f"{-(-batch_size // process_count) * process_count}"
            )
        keep_freed_memory()
        rows = batch_size // process_count
        self._crops = crops
        self._batch_size = batch_size
        self._first = process_index * rows
        self._rows = rows
        # Small enough that all threads have something to read, and that no more batches are read ahead than asked for.
        most = min(_ROWS_AT_ONCE, max(1, prefetch_batches * rows // num_threads))
        self._part = max(n for n in range(1, most + 1) if rows % n == 0)
        self._parts = rows // self._part
        # grain's default of 500 records is meant for kilobytes each; that many crops would be gigabytes.
        self._options = grain.ReadOptions(
            num_threads=num_threads,
            prefetch_buffer_size=max(prefetch_batches * self._parts, num_threads),
        )
        self.next_batch = 0
        self._iterator: Any = None
        self._source: _Parts | None = None
        self._handed_out = 0

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns this process's rows of the next batch: name -> array `[rows, ...]`."""
        if self._iterator is None:
            # A new source for each start, since threads of an earlier start may still read from theirs.
            self._source = _Parts(
                self._crops, self._batch_size, self._first, self._rows, self._part
            )
            self._handed_out = 0
            rest = grain.MapDataset.source(self._source)[self.next_batch * self._parts :]
            self._iterator = iter(rest.to_iter_dataset(self._options))
        parts = [next(self._iterator) for _ in range(self._parts)]
        self.next_batch += 1
        self._handed_out += self._rows
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def queued(self) -> float:
        """Returns how many batches have been read and not yet returned; near 0, the loader limits the run's speed."""
        read = self._source.rows_read if self._source is not None else 0
        return (read - self._handed_out) / self._rows

    def get_state(self) -> dict[str, int]:
        """Returns the position, as plain values that JSON can hold."""
        return {"next_batch": self.next_batch}

    def set_state(self, state: dict[str, int]) -> None:
        """Moves to a position that `get_state` returned."""
        self.close()
        self.next_batch = int(state["next_batch"])

    def close(self) -> None:
        """Stops reading ahead."""
        if self._iterator is not None and hasattr(self._iterator, "close"):
            self._iterator.close()
        self._iterator = None
