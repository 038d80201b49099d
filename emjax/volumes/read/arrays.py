"""Shared by the array formats that TensorStore reads itself: opening, levels, and a one-line error for bad metadata.

The array may be local or remote (`gs://`, `s3://`, `http://`): everything goes through a key-value store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.attributes import first_sentence
from emjax.volumes.chunk_sides import read_sides
from emjax.volumes.format import Request
from emjax.volumes.read import folder_metadata
from emjax.volumes.read.chunk_memory import refuse_large_chunk
from emjax.volumes.read.folder_metadata import shown
from emjax.volumes.read.missing import ERROR
from emjax.volumes.read.opened import Opened


def open_store(base: str, driver: str, request: Request, **spec: Any) -> ts.TensorStore:
    """Opens the array in a folder.

    Args:
        base: URL of the folder, with a slash at its end.
        driver: TensorStore's name of the format.
        request: gives the cache, and how absent chunks are read: as the format's fill value, unless the address has
            `missing=error`.
        **spec: further members of the TensorStore spec.

    Raises:
        InputError: if the array cannot be opened.
    """
    try:
        # "open" checks for changes since an earlier opening, so that an overwritten volume is not served from the
        # cache; asking before every read would double its cost, and on a server cost a round trip.
        store = ts.open(
            {
                "driver": driver,
                "kvstore": base,
                "recheck_cached_data": "open",
                "fill_missing_data_reads": request.missing != ERROR,
                **spec,
            },
            open=True,
            read=True,
            context=request.context,
        ).result(timeout=folder_metadata.PATIENCE)
        refuse_large_chunk(shown(base), read_sides(store), store.dtype.numpy_dtype.itemsize)
        return store
    except InputError:
        raise
    except TimeoutError as error:
        raise InputError(
            f"{shown(base)} did not answer in {folder_metadata.PATIENCE:.0f} s"
        ) from error
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{shown(base)} cannot be opened: {first_sentence(error)}") from error


def checked(opener: Callable[[Request], Opened]) -> Callable[[Request], Opened]:
    """Wraps an opener so that errors in metadata that people edit are reported in one line.

    Args:
        opener: may raise any exception where metadata break the rules of their format.
    """

    def opened(request: Request) -> Opened:
        try:
            return opener(request)
        except InputError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{shown(request.base)} has metadata that break the rules of its format: {type(error).__name__} {error}"
            ) from error

    return opened


def only_level_0(base: str, level: int) -> None:
    """Refuses any level but 0 of an array that is no pyramid.

    Raises:
        InputError: if the level is not 0.
    """
    if level:
        raise InputError(f"{shown(base)} is a single array, no pyramid; leave out level={level}")


def check_level(base: str, level: int, count: int) -> None:
    """Checks that a pyramid has the requested level.

    Raises:
        InputError: if it has not; the message says which levels there are.
    """
    if level >= count:
        raise InputError(f"{shown(base)} has levels 0 to {count - 1}, not {level}")
