"""What is absent: refused or taken as 0, as the key `missing` of an address says."""

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
    """Returns what an address says of absent parts.

    Args:
        address: maybe with `missing=error` or `missing=fill`.
        default: returned where it says nothing.

    Raises:
        InputError: if it says anything else.
    """
    value = address.keys.get("missing")
    if value is None:
        return default
    if value not in (ERROR, FILL):
        raise InputError(f"{address}: missing={value} must be {ERROR} or {FILL}")
    return value


def refuse_key(address: Address) -> None:
    """Refuses an address that says what to do with absent parts of a format that has none.

    Raises:
        InputError: if it has the key `missing`.
    """
    if "missing" in address.keys:
        raise InputError(
            f"{address}: nothing can be absent from it; leave out missing={address.keys['missing']}"
        )


def refuse_or_say(where: str, absent: Sequence[str], total: int, missing: str, what: str) -> None:
    """Refuses absent files, or says once that they are taken as 0.

    Args:
        where: what lacks them.
        absent: their paths.
        total: how many there should be.
        missing: `error` or `fill`.
        what: they are, in the plural.

    Raises:
        InputError: for `error`, naming them.
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
