"""Checks the fields of a network by their annotations: numbers, sizes, and tuples of them."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from emjax.config import nearest
from emjax.errors import InputError
from emjax.geometry.sizes import Size

# A whole number from 0, such as the index of a block; a plain `int` must be at least 1.
Index: TypeAlias = Annotated[int, "from 0"]

# Fields that linen adds to every module.
_OF_LINEN = ("parent", "name")


def check_fields(
    kind: type, name: str, values: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]
) -> None:
    """Checks that a network has the given fields, and that these accept the given values.

    Args:
        kind: class of the network, a dataclass; `emjax.models.backbone` lists what its annotations mean.
        name: name of the network, for messages.
        values: field -> value; lists must already be tuples.
        choices: field -> allowed values.

    Raises:
        InputError: naming the field and its allowed values, or the nearest field or choice.
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
    """Converts lists, at any depth, to tuples: JSON has only lists, and a module must be hashable."""
    return tuple(as_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _takes(annotation: Any, value: Any) -> bool:
    """Whether a value fits an annotation; annotations that are not listed accept anything."""
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
    """Returns a description of the values that an annotation accepts."""
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
    """Returns T for `tuple[T, ...]`, else None."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple and arguments[1:] == (Ellipsis,):
        return arguments[0]
    return None
