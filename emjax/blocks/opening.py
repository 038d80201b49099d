"""Opens volumes and outputs once in each process, for all blocks of a run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import tensorstore as ts

from emjax.volumes.store import open_for_blocks
from emjax.volumes.volume import Volume
from emjax.volumes.write.output import Output

Made = TypeVar("Made", bound=Callable[..., Any])
_KEPT: list[Any] = []


def once(most: int) -> Callable[[Made], Made]:
    """Decorates a function so that its results are cached by its arguments until `release`.

    One of the arguments should be the name of the run, so that a run does not get what an earlier run of the same
    process made.

    Args:
        most: number of results kept, the most recently used ones.
    """

    def keep(make: Made) -> Made:
        kept: Any = functools.lru_cache(maxsize=most)(make)
        _KEPT.append(kept)
        return kept

    return keep


def release() -> None:
    """Forgets all cached results."""
    for kept in _KEPT:
        kept.cache_clear()


# 8: a work reads at most segmentation, labels, mask and image, and two runs of a process may overlap.
@once(8)
def open_once(address: str, run: str) -> Volume:
    """Opens a volume to be read block by block.

    Args:
        address: absolute address, since a worker may have another working folder.
        run: name of the run.

    Raises:
        InputError: as `open_volume`.
    """
    return open_for_blocks(address)


@once(8)
def open_output_once(output: Output, level: int, run: str) -> ts.TensorStore:
    """Opens a level of an existing output for writing and reading.

    Args:
        output: output with an absolute path.
        level: level of its pyramid; 0 is full resolution.
        run: name of the run.

    Raises:
        InputError: if the output does not exist.
    """
    return output.open(level)
