"""The target language: one line of text says what a network learns.

Entries are separated by ';', each NAME?key=value&key=value:

    affinities?offsets=-1,0,0/0,-1,0/0,0,-1&losses=balanced_bce:1+dice:0.5
    foreground?ids=1,3&losses=bce:1+dice:1
    contour?thickness=1&edges=touching&plane=true
    distance?plane=false
    signed_distance?inside=8&outside=50
    classes?ids=0,1,2

`+` joins losses, `:w` is a weight (1 where it is left out). `docs/targets.md` shows each of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from emjax.config import nearest
from emjax.errors import InputError
from emjax.targets.affinities import OFFSETS, Offset
from emjax.targets.kinds import KINDS
from emjax.targets.target import Losses, Target


def parse_targets(text: str) -> tuple[Target, ...]:
    """Returns the targets that a line of the target language names, in its order.

    Args:
        text: see above.

    Returns:
        One target an entry; the network's channels are theirs, in this order.

    Raises:
        InputError: an unknown target, option or loss (names the nearest), a number that is none, an
            option out of range, a kind given twice, or no target at all.
    """
    entries = [entry.strip() for entry in text.split(";") if entry.strip()]
    if not entries:
        raise InputError("targets is empty; give what to learn, for example targets='affinities'")
    targets = tuple(_parse_entry(entry) for entry in entries)
    kinds = [target.kind for target in targets]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise InputError(
                f"targets: '{kind}' is given twice; give each target once, with all of its options"
            )
    return targets


def _parse_entry(entry: str) -> Target:
    name, _, query = (part.strip() for part in entry.partition("?"))
    if name not in KINDS:
        raise InputError(f"unknown target '{name}'{nearest(name, KINDS)}")
    options: dict[str, Any] = {}
    known = _options(name)
    for pair in query.split("&") if query else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in known:
            raise InputError(f"{name}: unknown option '{key}'{nearest(key, known)}")
        if not equals or not value:
            raise InputError(f"{name}: option '{pair.strip()}' has no value; write {key}=VALUE")
        field, read = known[key]
        if field in options:
            raise InputError(f"{name}: option '{key}' is given twice; give it once")
        options[field] = read(f"{name}: {key}", value)
    if name == "classes" and "ids" not in options:
        raise InputError("classes: ids is missing; give one for each class, for example ids=0,1,2")
    return KINDS[name](**options)


def _options(name: str) -> dict[str, tuple[str, Callable[[str, str], Any]]]:
    """Option -> (field of the target, how its text is read)."""
    fields = (field.name for field in dataclasses.fields(KINDS[name]))
    return {"offsets" if f == "joins" else f: (f, _READERS[f]) for f in fields}


def _read_int(where: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{where}: '{text}' is no whole number") from None


def _read_float(where: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where}: '{text}' is no number") from None


def _read_bool(where: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise InputError(f"{where}: '{text}' is neither true nor false")
    return text == "true"


def _read_text(where: str, text: str) -> str:
    return text


def _read_ints(where: str, text: str) -> tuple[int, ...]:
    return tuple(_read_int(where, part.strip()) for part in text.split(","))


def _read_offsets(where: str, text: str) -> tuple[Offset, ...]:
    if text in OFFSETS:
        return OFFSETS[text]
    if text[:1].isalpha():
        raise InputError(f"{where}: no set of offsets '{text}'{nearest(text, OFFSETS)}")
    return tuple(_read_ints(where, part) for part in text.split("/"))


def _read_losses(where: str, text: str) -> Losses:
    losses = []
    for part in text.split("+"):
        name, colon, weight = (piece.strip() for piece in part.partition(":"))
        losses.append((name, _read_float(f"{where}: weight of {name}", weight) if colon else 1.0))
    return tuple(losses)


# Field of a target -> how its text is read.
_READERS: dict[str, Callable[[str, str], Any]] = {
    "losses": _read_losses,
    "joins": _read_offsets,
    "ids": _read_ints,
    "thickness": _read_int,
    "edges": _read_text,
    "plane": _read_bool,
    "inside": _read_float,
    "outside": _read_float,
}
