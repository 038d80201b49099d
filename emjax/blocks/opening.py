"""What all blocks of a run need, made once in each process: volumes that are read, stores that are written."""

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
    """Keeps what a function returned for the same arguments, until `release`.

    One of the arguments should be the name of the run: none may be given what an earlier run of its process made.

    Args:
        most: results kept, those last used.
    """

    def keep(make: Made) -> Made:
        kept: Any = functools.lru_cache(maxsize=most)(make)
        _KEPT.append(kept)
        return kept

    return keep


def release() -> None:
    """Forgets all that is kept."""
    for kept in _KEPT:
        kept.cache_clear()


# A work reads at most segmentation, labels, mask and image; several runs of a process may overlap.
@once(8)
def open_once(address: str, run: str) -> Volume:
    """Opens a volume to be read block by block.

    Args:
        address: absolute, since a worker may have another working folder.
        run: name of the run.

    Raises:
        InputError: as `open_volume`.
    """
    return open_for_blocks(address)


@once(8)
def open_output_once(output: Output, level: int, run: str) -> ts.TensorStore:
    """Opens a level of an output that was made, to be written and read.

    Args:
        output: with an absolute path.
        level: of its pyramid; 0 is full resolution.
        run: as for `open_once`.

    Raises:
        InputError: if it is not there.
    """
    return output.open(level)
