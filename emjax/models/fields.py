"""Checks of a network's fields by their annotations: numbers, sizes, and tuples of them."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from emjax.config import nearest
from emjax.errors import InputError
from emjax.geometry.sizes import Size

# A whole number that may be 0, such as the number of a block; a plain `int` must be at least 1.
Index: TypeAlias = Annotated[int, "from 0"]

# What linen adds to the fields of a module.
_OF_LINEN = ("parent", "name")


def check_fields(
    kind: type, name: str, values: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]
) -> None:
    """Checks that a network has such fields, and that they take such values.

    Args:
        kind: the network's class, a dataclass; `emjax.models.backbone` lists what its annotations mean.
        name: what the network is called, for messages.
        values: field -> value; lists must be tuples already.
        choices: field -> the values that it may have.

    Raises:
        InputError: naming the field and what it takes, or the nearest field or choice.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    known = [field for field in fields if field not in _OF_LINEN]
    annotations = typing.get_type_hints(kind, include_extras=True)
    for key, value in values.items():
        if key not in known:
            raise InputError(f"model.{key} is no field of '{name}'{nearest(key, known)}")
        if key in choices:
            if value not in choices[key]:
                raise InputError(
                    f"model.{key}='{value}' is unknown{nearest(str(value), choices[key])}"
                )
        elif not _takes(annotations[key], value):
            need = _describe(annotations[key], fields[key].default)
            raise InputError(f"model.{key}={value} must be {need}")


def as_tuples(value: Any) -> Any:
    """Returns lists, at any depth, as tuples: JSON has lists alone, and a module must be hashable."""
    return tuple(as_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _takes(annotation: Any, value: Any) -> bool:
    """Whether a value is of an annotation's kind; annotations that are not listed take anything."""
    if annotation is bool:
        return isinstance(value, bool)
    if annotation in (int, Index):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and value >= (1 if annotation is int else 0)
    if annotation is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if annotation is str:
        return isinstance(value, str)
    if annotation == Size:
        return isinstance(value, tuple) and len(value) == 3 and all(_takes(int, n) for n in value)
    item = _item(annotation)
    if item is not None:
        return isinstance(value, tuple) and all(_takes(item, part) for part in value)
    return True


def _describe(annotation: Any, default: Any) -> str:
    """Says what an annotation takes."""
    plain = {
        bool: "True or False",
        int: "a positive whole number",
        Index: "a whole number, 0 or more",
        float: "a number",
        str: "text",
        Size: "a size (z, y, x)",
    }
    if annotation in plain:
        return plain[annotation]
    several = {
        int: ("positive whole numbers", (16, 32)),
        Index: ("whole numbers, 0 or more", (0, 1)),
        Size: ("(z, y, x) sizes", ((1, 3, 3), (3, 3, 3))),
    }
    text, example = several.get(_item(annotation), ("several values", default))
    return f"{text}, such as {example}"


def _item(annotation: Any) -> Any:
    """Returns T of `tuple[T, ...]`, else None."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple and arguments[1:] == (Ellipsis,):
        return arguments[0]
    return None
