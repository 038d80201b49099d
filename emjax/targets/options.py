"""Options of targets: the type of each option's field decides how its text is read.

A target's options are the fields of its dataclass. These types can be read:

| type | text |
|---|---|
| `int`, `float`, `bool`, `str` | `3`, `0.5`, `true`, `word` |
| `Literal["a", "b"]` | one of the words |
| `tuple[int, ...]`, also of `float` or `str` | `1,2,3` |
| `tuple[int, int, int]`, also of `float` or `str`, of any length | that many, `1,2,3` |
| `tuple[Offset, ...]` | `-1,0,0/0,-1,0`, or the name of a set of offsets |
| `Losses` | `bce:1+dice:0.5` |
| `Weights` | `border/5:10+class_ratio` |
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Any, TypeAlias

from emjax.config import nearest
from emjax.errors import InputError
from emjax.targets.offsets import OFFSETS, Offset
from emjax.targets.weights import SIZES, Weights

# (name, weight) of each loss.
Losses: TypeAlias = tuple[tuple[str, float], ...]
# ('contour: thickness', text) -> value.
Reader: TypeAlias = Callable[[str, str], Any]


def required(example: str) -> Any:
    """Returns a dataclass field for an option that has no default.

    Args:
        example: example of its text, for the message if it is missing.
    """
    return dataclasses.field(metadata={"example": example})


def readers_of(kind: type) -> dict[str, Reader]:
    """Returns the function that reads the text of each option of a target.

    Args:
        kind: the target's class; annotated fields of its bases count too.

    Raises:
        TypeError: if a field has a type that cannot be read from text.
    """
    readers = {}
    for name, annotation in typing.get_type_hints(kind).items():
        if typing.get_origin(annotation) is typing.ClassVar:
            continue
        reader = _reader_of(annotation)
        if reader is None:
            raise TypeError(
                f"{kind.__name__}.{name} is annotated as {annotation}, which no text can be read as; use one of the "
                "types that emjax.targets.options lists"
            )
        readers[name] = reader
    return readers


def _reader_of(annotation: Any) -> Reader | None:
    if annotation in _READERS:
        return _READERS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal and all(isinstance(word, str) for word in arguments):
        return _choice(arguments)
    # `tuple[...]` is a `types.GenericAlias`.
    if not isinstance(annotation, types.GenericAlias) or origin is not tuple:
        return None
    item = arguments[0]
    if item not in (int, float, str):
        return None
    if arguments[1:] == (...,):
        return _list(_READERS[item])
    return _list(_READERS[item], len(arguments)) if set(arguments) == {item} else None


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
    del where
    return text


def _choice(words: tuple[str, ...]) -> Reader:
    def read(where: str, text: str) -> str:
        if text not in words:
            raise InputError(f"{where}={text} is unknown{nearest(text, words)}")
        return text

    return read


def _list(read: Reader, length: int | None = None) -> Reader:
    def read_all(where: str, text: str) -> tuple[Any, ...]:
        values = tuple(read(where, part.strip()) for part in text.split(","))
        if length is not None and len(values) != length:
            raise InputError(f"{where}: '{text}' has {len(values)} values; give {length}")
        return values

    return read_all


def _read_offsets(where: str, text: str) -> tuple[Offset, ...]:
    if text in OFFSETS:
        return OFFSETS[text]
    if text[:1].isalpha():
        raise InputError(f"{where}: no set of offsets '{text}'{nearest(text, OFFSETS)}")
    return tuple(_list(_read_int)(where, part) for part in text.split("/"))


def _read_losses(where: str, text: str) -> Losses:
    losses = []
    for part in text.split("+"):
        name, colon, weight = (piece.strip() for piece in part.partition(":"))
        losses.append((name, _read_float(f"{where}: weight of {name}", weight) if colon else 1.0))
    return tuple(losses)


def _read_weights(where: str, text: str) -> Weights:
    weights = []
    for part in text.split("+"):
        title, colon, strength = (piece.strip() for piece in part.partition(":"))
        name, slash, size = (piece.strip() for piece in title.partition("/"))
        # A map that has no size keeps 0; what is unknown is refused where the target is made.
        least = SIZES.get(name) or 0.0
        weights.append(
            (
                name,
                _read_float(f"{where}: size of {name}", size) if slash else least,
                _read_float(f"{where}: strength of {name}", strength) if colon else 1.0,
            )
        )
    return tuple(weights)


_READERS: dict[Any, Reader] = {
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
    str: _read_text,
    tuple[Offset, ...]: _read_offsets,
    Losses: _read_losses,
    Weights: _read_weights,
}
