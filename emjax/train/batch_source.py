"""The interface of the loader that the training loop gets its batches from."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class BatchSource(Protocol):
    """An endless sequence of batches, whose whole state is the number of the next one."""

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns this process's rows of the next batch."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Returns the position, as plain values that JSON can hold; batches read ahead do not count."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Moves to a position that `get_state` returned."""
        ...

    def queued(self) -> float:
        """Returns how many batches have been read and not yet returned."""
        ...

    def close(self) -> None:
        """Stops reading ahead."""
        ...
