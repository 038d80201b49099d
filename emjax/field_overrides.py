"""Sets single fields of a configuration from text, as the type of the value that each of them has."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from emjax.command_help import show
from emjax.config import Config, flatten, plain
from emjax.config_comments import comment_on
from emjax.errors import InputError

# Groups whose fields depend on a part that one field names -> that field, and the fields that every part has.
CHOSEN_BY = {"model": ("name", "dtype"), "augment": ("recipe",)}
TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def choose_parts(config: ConfigDict, given: Mapping[str, str]) -> frozenset[str]:
    """Resets a group where a command names another part, since the new part has fields of its own.

    Args:
        config: changed in place.
        given: dotted name -> text of each field that the command sets.

    Returns:
        The groups that were reset: they accept any field; the code that reads them checks the names.
    """
    fresh = set()
    for group, (chooser, *kept) in CHOSEN_BY.items():
        old, name = config.get(group), given.get(f"{group}.{chooser}")
        if old is None or name in (None, old.get(chooser)):
            continue
        with config.unlocked():
            config[group] = Config({chooser: name} | {field: old[field] for field in kept})
        config[group].told.add(chooser)
        fresh.add(group)
    return frozenset(fresh)


def override(config: ConfigDict, name: str, text: str, fresh: Collection[str] = ()) -> None:
    """Sets one field from its text; the type is that of the field's present value.

    Args:
        config: changed in place.
        name: dotted name of the field.
        text: new value.
        fresh: groups that accept fields which they do not have; the code that reads them checks the names.

    Raises:
        InputError: if there is no such field (names the nearest), or the text is of another type.
    """
    parts = name.split(".")
    parent = config
    for depth, part in enumerate(parts):
        if not isinstance(parent, ConfigDict) or part not in parent:
            if ".".join(parts[:-1]) in fresh:
                with config.unlocked():
                    parent[part] = _parse_literal(text)
                parent.told.add(part)
                return
            raise InputError(_unknown_field(config, parent, parts, depth))
        if depth < len(parts) - 1:
            parent = parent[part]
    old = parent[parts[-1]]
    if isinstance(old, ConfigDict):
        raise InputError(f"--config.{name} is a group; set one of its fields: {', '.join(old)}")
    try:
        parent[parts[-1]] = _parse_value(name, text, old)
    except InputError as error:
        # What the field is says why it cannot be something else.
        said = comment_on(config, name)
        raise InputError(f"{error}; it is: {said}" if said else str(error)) from None


def _parse_value(name: str, text: str, old: Any) -> Any:
    """Reads text as the type of the old value."""
    wrong = InputError(
        f"--config.{name}={text}: needs {_type_name(old)}, as in --config.{name}={show(old)}"
    )
    if isinstance(old, str):
        return text
    if isinstance(old, bool):
        if text.lower() not in TRUTH:
            raise wrong
        return TRUTH[text.lower()]
    try:
        value = ast.literal_eval(text.strip() or "()")
    except (ValueError, SyntaxError):
        # Names in a tuple need no quotes: --config.names=a,b
        value = tuple(part.strip() for part in text.strip("()[] ").split(",") if part.strip())
        if isinstance(old, int | float) and len(value) == 1:
            raise wrong from None
    if isinstance(old, tuple | list):
        items = value if isinstance(value, tuple | list) else (value,)
        kinds = {type(item) for item in old}
        if kinds and not all(_fits(item, kinds) for item in items):
            raise wrong
        return type(old)(float(i) if kinds == {float} else i for i in items)
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(old, int) and isinstance(value, float) and value.is_integer():
        return int(value)  # 1e5 steps
    if old is not None and type(value) is not type(old):
        raise wrong
    return value


def _parse_literal(text: str) -> Any:
    """Reads text of unknown type: a number, a tuple, true or false, or else a name."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _fits(item: Any, kinds: set[type]) -> bool:
    """Whether an item has a type that the old tuple had; an int is accepted as a float."""
    return type(item) in kinds or (float in kinds and type(item) is int)


def _type_name(old: Any) -> str:
    if isinstance(old, tuple | list):
        kinds = sorted({type(item).__name__ for item in old})
        return f"values separated by commas ({', '.join(kinds) if kinds else 'numbers or names'})"
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(type(old), "a value")


def _unknown_field(config: ConfigDict, parent: Any, parts: list[str], depth: int) -> str:
    """Returns a message on an unknown field that suggests one of the same group, else one anywhere."""
    name, group = ".".join(parts), ".".join(parts[:depth])
    if not isinstance(parent, ConfigDict):
        return f"unknown field --config.{name}: {group} is a value, not a group"
    everywhere = list(flatten(plain(config)))
    # Candidates: the right name in another group, a misspelt name in this group, or both.
    found = [field for field in everywhere if field.split(".")[-1] == parts[-1]]
    found += [
        ".".join((*parts[:depth], match, *parts[depth + 1 :]))
        for match in difflib.get_close_matches(parts[depth], list(parent), n=1, cutoff=0.6)
    ]
    found += difflib.get_close_matches(name, everywhere, n=1, cutoff=0.7)
    found.sort(key=lambda field: difflib.SequenceMatcher(None, name, field).ratio(), reverse=True)
    hint = f"; did you mean --config.{found[0]}?" if found else ""
    where = f"fields of config.{group}" if group else "fields of config"
    return f"unknown field --config.{name}{hint or ';'} {where}: {', '.join(sorted(parent))}"
