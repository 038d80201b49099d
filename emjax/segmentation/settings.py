"""Settings of methods: those that all methods have, and how a user's text or numbers become settings.

A method's settings are a frozen dataclass that derives from `SizeSettings`; its fields are made by `number` and
`choice`, which know their range and the values that are worth trying.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from emjax.config import nearest
from emjax.errors import InputError
from emjax.segmentation.sizes import SMALL

S = TypeVar("S", bound="SizeSettings")


def number(
    default: Any, low: float, high: float = float("inf"), grid: tuple = (), later: bool = False
) -> Any:
    """Returns a dataclass field for a number, or a (z, y, x) tuple of whole numbers.

    Args:
        default: the default value, whose type is that of the field.
        low: smallest allowed value.
        high: largest allowed value.
        grid: values that are worth trying.
        later: whether the setting has no effect on fragments.
    """
    rules = {"low": low, "high": high, "grid": grid, "later": later}
    return dataclasses.field(default=default, metadata=rules)


def choice(default: Any, options: tuple, grid: tuple = (), later: bool = False) -> Any:
    """Returns a dataclass field whose value is one of some options.

    Args:
        default: the default value, whose type is that of the field.
        options: all allowed values; (): any text.
        grid: values that are worth trying.
        later: whether the setting has no effect on fragments.
    """
    rules = {"options": options, "grid": grid, "later": later}
    return dataclasses.field(default=default, metadata=rules)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeSettings:
    """The limits on object sizes, which every method applies last.

    Attributes:
        min_size: voxels; smaller objects are removed; 0 keeps all.
        small: how they are removed: they become 'background', or part of the 'neighbour' with the highest mean
            affinity, or without affinities the largest contact.
        max_size: voxels; larger objects become background; 0 keeps all.
    """

    # Methods that make fragments in the same way give the same name here; '': the class of the settings.
    fragments_of: ClassVar[str] = ""

    min_size: int = number(0, 0, later=True)
    small: str = choice("background", SMALL, later=True)
    max_size: int = number(0, 0, later=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StitchSettings(SizeSettings):
    """How objects that were found in the cells of a volume are joined across cell faces.

    Attributes:
        stitch: two objects of neighbouring cells are joined if the voxels that both have are more than this share of
            the smaller object's voxels around the face, if each is the other's largest partner there or this holds on
            either side of the face: an object joins as many partners as it has branches across. 1 joins none.
    """

    stitch: float = number(0.5, 0, 1, later=True)


def fragment_key(settings: SizeSettings) -> tuple[str, ...]:
    """Returns everything that fragments depend on, as text; equal for methods that make fragments in the same way."""
    names = [f.name for f in dataclasses.fields(settings) if not f.metadata["later"]]
    return (
        settings.fragments_of or type(settings).__name__,
        *(f"{name}={getattr(settings, name)}" for name in sorted(names)),
    )


def read_settings(kind: type[S], method: str, given: Mapping[str, Any]) -> S:
    """Makes settings from a user's values, given as numbers or text.

    Args:
        kind: the settings class of the method.
        method: name of the method, for messages.
        given: setting -> value; settings that are not given have their default.

    Raises:
        InputError: if a setting is unknown (names the nearest), or a value is of another type or out of
            range.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for name, value in given.items():
        if name not in fields:
            raise InputError(f"{method}: unknown setting '{name}'{nearest(name, fields)}")
        values[name] = _read(f"{method}: {name}", fields[name], value)
    return kind(**values)


def parse_settings(text: str) -> dict[str, str]:
    """Reads `NAME=VALUE&NAME=VALUE`; '/' separates the three numbers of one value.

    Raises:
        InputError: if a part has no name or no value, or a name is given twice.
    """
    settings: dict[str, str] = {}
    for part in text.split("&") if text.strip() else ():
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value):
            raise InputError(
                f"settings: '{part.strip()}' is no NAME=VALUE; write NAME=VALUE&NAME=VALUE"
            )
        if name in settings:
            raise InputError(f"settings: '{name}' is given twice; give it once")
        settings[name] = value
    return settings


def format_settings(settings: Mapping[str, Any]) -> str:
    """Writes settings in the form that `parse_settings` reads."""

    def shown(value: Any) -> str:
        if isinstance(value, list | tuple):
            return "/".join(map(str, value))
        return str(value).lower() if isinstance(value, bool) else str(value)

    return "&".join(f"{name}={shown(value)}" for name, value in settings.items())


def values_to_try(kind: type) -> dict[str, tuple]:
    """Returns, for each setting that has some, the values that are worth trying."""
    fields = dataclasses.fields(kind)
    return {f.name: f.metadata["grid"] for f in fields if f.metadata["grid"]}


def _read(title: str, field: dataclasses.Field, value: Any) -> Any:
    default, rules = field.default, field.metadata
    if isinstance(default, tuple):
        parts = value.replace(",", "/").split("/") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or len(parts) != len(default):
            raise InputError(f"{title}={value!r} must be {len(default)} numbers z/y/x")
        return tuple(_in_range(title, _convert(title, part, int), rules) for part in parts)
    value = _convert(title, value, type(default))
    if "options" in rules:
        if rules["options"] and value not in rules["options"]:
            known = ", ".join(map(str, rules["options"]))
            raise InputError(f"{title}={value} is unknown; use one of {known}")
        return value
    return _in_range(title, value, rules)


def _in_range(title: str, value: Any, rules: Mapping[str, Any]) -> Any:
    low, high = rules["low"], rules["high"]
    # A comparison with NaN is false, so this condition catches NaN as well.
    if not low <= value <= high:
        allowed = f"{low:g} or more" if high == float("inf") else f"between {low:g} and {high:g}"
        raise InputError(f"{title}={value} must be {allowed}")
    return value


def _convert(title: str, value: Any, kind: type) -> Any:
    if isinstance(value, str) and kind is not str:
        text = value.strip().lower()
        try:
            if kind is bool:
                return {"true": True, "false": False, "1": True, "0": False}[text]
            return kind(text)
        except (KeyError, ValueError):
            pass
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    elif kind in (bool, str) and isinstance(value, kind):
        return value
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    raise InputError(f"{title}={value!r} must be {wanted}")
