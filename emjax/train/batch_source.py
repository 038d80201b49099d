"""Where the loop gets its batches from."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class BatchSource(Protocol):
    """The loader: an endless sequence of batches; its whole state is the next one's number."""

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns this process's rows of the next batch."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Returns the position, as JSON holds it; reading ahead does not move it."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a position."""
        ...

    def queued(self) -> float:
        """Returns how many batches are read and wait to be handed out."""
        ...

    def close(self) -> None:
        """Stops reading ahead."""
        ...
