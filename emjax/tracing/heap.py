"""A binary heap of (key, place), in arrays that compiled loops use."""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled


@compiled
def push(keys: np.ndarray, places: np.ndarray, count: int, key: float, place: int) -> int:
    """Adds an entry; returns the new number of entries.

    Args:
        keys: `[n]` float32, with room for one more.
        places: `[n]` int64.
        count: number of entries.
        key: of the new one.
        place: of the new one.
    """
    at = count
    while at > 0:
        above = (at - 1) >> 1
        if keys[above] <= key:
            break
        keys[at] = keys[above]
        places[at] = places[above]
        at = above
    keys[at] = key
    places[at] = place
    return count + 1


@compiled
def pop(keys: np.ndarray, places: np.ndarray, count: int) -> int:
    """Removes the entry of the least key, which was the first; returns the new number of entries.

    Args:
        keys: `[n]` float32.
        places: `[n]` int64.
        count: number of entries, at least 1.
    """
    count -= 1
    key, place = keys[count], places[count]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and keys[below + 1] < keys[below]:
            below += 1
        if keys[below] >= key:
            break
        keys[at] = keys[below]
        places[at] = places[below]
        at = below
    keys[at] = key
    places[at] = place
    return count
