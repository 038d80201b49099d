"""Treatment of absent parts: refused or filled with 0, as the key `missing` of an address says."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import PurePath

from absl import logging

from emjax.errors import InputError
from emjax.volumes.address import Address

ERROR, FILL = "error", "fill"
_MOST_NAMED = 8


def missing_key(address: Address, default: str) -> str:
    """Returns the value of the key `missing` of an address.

    Args:
        address: may have `missing=error` or `missing=fill`.
        default: returned where the key is not given.

    Raises:
        InputError: if the key has another value.
    """
    value = address.keys.get("missing")
    if value is None:
        return default
    if value not in (ERROR, FILL):
        raise InputError(f"{address}: missing={value} must be {ERROR} or {FILL}")
    return value


def refuse_key(address: Address) -> None:
    """Refuses the key `missing` for formats in which nothing can be absent.

    Raises:
        InputError: if the address has the key `missing`.
    """
    if "missing" in address.keys:
        raise InputError(
            f"{address}: nothing can be absent from it; leave out missing={address.keys['missing']}"
        )


def refuse_or_say(where: str, absent: Sequence[str], total: int, missing: str, what: str) -> None:
    """Refuses absent files, or logs once that they are filled with 0.

    Args:
        where: names the volume that lacks them.
        absent: their paths.
        total: how many files there should be.
        missing: `error` or `fill`.
        what: what the files are, in the plural.

    Raises:
        InputError: if `missing` is `error`; names absent files.
    """
    if not absent:
        return
    names = [PurePath(path).name if what == "sections" else path for path in absent]
    named = ", ".join(names[:_MOST_NAMED]) + (" ..." if len(names) > _MOST_NAMED else "")
    text = f"{where} lacks {len(absent)} of {total} {what}: {named}"
    if missing == ERROR:
        raise InputError(f"{text}; add them, or ?missing=fill to take them as 0")
    _say(f"{text}; they are taken as 0")


@functools.cache
def _say(text: str) -> None:
    logging.warning("%s", text)
