"""Named arrays of a file, read when they are asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import ml_dtypes
import numpy as np

# Files of 16 bits are for transport: everything here computes and stores parameters in 32.
_WIDENED = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array of a file.

    Attributes:
        shape: of the array.
        read: returns the array as it is stored.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of one file by name; each is read when it is asked for, and not kept.

    Attributes:
        source: the file, for messages.
    """

    def __init__(self, source: str, entries: Mapping[str, Entry]) -> None:
        """Reads nothing.

        Args:
            source: the file, for messages.
            entries: of its arrays, in its order.
        """
        self.source = source
        self._entries = dict(entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of an array without reading it; raises KeyError where there is none of that name."""
        return self._entries[name].shape

    def __getitem__(self, name: str) -> np.ndarray:
        """Reads an array; numbers of 16 bits come as float32, all others as they are stored."""
        array = self._entries[name].read()
        return array.astype(np.float32) if array.dtype in _WIDENED else array

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
