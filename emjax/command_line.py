"""The parser of the command line: the config file, its preset, and overrides of single fields.

    --config FILE[:PRESET] [--config.FIELD=VALUE ...] [--workdir DIR]

`ml_collections.config_flags` reads the same form, but answers an unknown field with a bare `AttributeError`, and a
wrong value with a usage page; this module names the field that was probably meant.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from ml_collections import ConfigDict

from emjax.config import Config, flatten, nearest, plain
from emjax.errors import InputError
from emjax.jobs import describe_jobs

REPOSITORY = Path(__file__).resolve().parents[1]
# Groups whose fields depend on a part that one field names -> that field, and the fields that every part has.
CHOSEN_BY = {"model": ("name", "dtype"), "augment": ("recipe",)}
TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, as for all mistakes of users, and whose help lists the jobs.

    Attributes:
        about: the config file that help is wanted for; '': for the command.
    """

    about: str = ""

    def format_help(self) -> str:
        """Returns the help; the jobs are listed only when the help is requested."""
        if self.about:
            return _describe_config(self.about)
        described = describe_jobs()
        width = max(map(len, described))
        jobs = "".join(f"  {name:<{width}}  {line}\n" for name, line in described.items())
        return (
            f"{super().format_help()}\n"
            "jobs, each with a file configs/JOB.py; --config configs/JOB.py --help says what its fields are:\n"
            f"{jobs}"
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see python -m emjax.main --help")


def _describe_config(address: str) -> str:
    """Returns what a config file says of itself, and its fields with their values."""
    module, preset = _import_config(address)
    fields = flatten(plain(_make_config(module, preset)))
    lines = [f"  --config.{name}={_show(value)}" for name, value in fields.items() if name != "job"]
    return "\n".join(
        [
            (inspect.getdoc(module) or "").rstrip(),
            "",
            f"fields of {address}; comments in {module.__file__} and what it imports explain them:",
            *lines,
            "",
        ]
    )


def parse(arguments: Sequence[str]) -> tuple[ConfigDict, argparse.Namespace]:
    """Reads a command.

    Args:
        arguments: the command without the program's name.

    Returns:
        The configuration with its overrides, and the other flags: `workdir`, `coordinator`,
        `num_processes`, `process_id`.

    Raises:
        InputError: on an unknown flag, config file, preset or field, or a value of the wrong type.
    """
    parser = _Parser(
        prog="python -m emjax.main",
        description="EM segmentation in JAX: every job is a config file.",
        epilog="Any field of the configuration: --config.FIELD=VALUE, as in --config.seed=1",
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, metavar="FILE[:PRESET]", help="configs/*.py")
    parser.add_argument("--workdir", metavar="DIR", help="run folder; default: runs/JOB")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of a run of several processes")
    parser.add_argument("--num_processes", type=int, metavar="N", help="processes of that run")
    parser.add_argument("--process_id", type=int, metavar="I", help="this process, from 0")
    rest, overrides = _split_overrides(arguments)
    asks, others = {"-h", "--help"} & set(rest), [a for a in rest if a not in ("-h", "--help")]
    if asks and any(a.partition("=")[0] == "--config" for a in others):
        parser.about = parser.parse_known_args(others)[0].config
        parser.parse_args(["--help"])
    flags, unknown = parser.parse_known_args(rest)
    if unknown:
        raise InputError(
            f"unrecognized arguments: {' '.join(unknown)}; {_meant(flags.config, unknown)}"
        )
    config = load_config(flags.config)
    fresh = choose_parts(config, dict(overrides))
    for name, text in overrides:
        override(config, name, text, fresh)
    flags.workdir = flags.workdir or f"runs/{config.job}"
    return config, flags


def load_config(address: str) -> ConfigDict:
    """Runs the `get_config` of a config file.

    Args:
        address: FILE or FILE:PRESET; FILE is looked for in the current folder, then in the repository of
            emjax.

    Returns:
        The configuration, locked: fields that it does not have cannot be set by mistake.

    Raises:
        InputError: if there is no such file (names those that exist), or no such preset.
    """
    return _make_config(*_import_config(address)).lock()


def _import_config(address: str) -> tuple[ModuleType, str]:
    """Runs a config file, and returns its module and the preset that is asked for."""
    name, _, preset = address.partition(":")
    path = _find(name)
    spec = importlib.util.spec_from_file_location(f"emjax_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"--config {name}: not a Python file; give one of {_known_configs()}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise InputError(f"--config {path}: has no function get_config")
    if preset and not inspect.signature(module.get_config).parameters:
        raise InputError(f"--config {address}: {path} has no presets; leave out ':{preset}'")
    return module, preset


def _make_config(module: ModuleType, preset: str) -> ConfigDict:
    takes_preset = inspect.signature(module.get_config).parameters
    return module.get_config(preset) if takes_preset else module.get_config()


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
                return
            raise InputError(_unknown_field(config, parent, parts, depth))
        if depth < len(parts) - 1:
            parent = parent[part]
    old = parent[parts[-1]]
    if isinstance(old, ConfigDict):
        raise InputError(f"--config.{name} is a group; set one of its fields: {', '.join(old)}")
    parent[parts[-1]] = _parse_value(name, text, old)


def _split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Separates `--config.a.b=v` and `--config.a.b v` from the other flags."""
    rest: list[str] = []
    overrides: list[tuple[str, str]] = []
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if not argument.startswith("--config."):
            rest.append(argument)
            continue
        name, equals, text = argument.removeprefix("--config.").partition("=")
        if not equals:
            if not remaining or remaining[0].startswith("--"):
                raise InputError(f"--config.{name} needs a value: --config.{name}=VALUE")
            text = remaining.pop(0)
        overrides.append((name, text))
    return rest, overrides


def _parse_value(name: str, text: str, old: Any) -> Any:
    """Reads text as the type of the old value."""
    wrong = InputError(
        f"--config.{name}={text}: needs {_type_name(old)}, as in --config.{name}={_show(old)}"
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


def _show(old: Any) -> str:
    if isinstance(old, tuple | list):
        return ",".join(str(item) for item in old)
    return str(old).lower() if isinstance(old, bool) else str(old)


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


def _meant(address: str, unknown: Sequence[str]) -> str:
    """Says how the first unknown argument is written if it is a field: `--input=a` lacks `config.`."""
    given, _, value = unknown[0].lstrip("-").partition("=")
    if given not in flatten(plain(load_config(address))):
        return "see python -m emjax.main --help"
    return f"did you mean --config.{given}={value or 'VALUE'}?"


def _find(name: str) -> Path:
    for folder in (Path.cwd(), REPOSITORY):
        if (folder / name).is_file():
            return folder / name
    known = _known_configs()
    raise InputError(f"no config file {name}{nearest(name, known)}")


def _known_configs() -> list[str]:
    found = {
        f"configs/{path.name}"
        for folder in (Path.cwd(), REPOSITORY)
        for path in (folder / "configs").glob("*.py")
        if not path.name.startswith("_")
    }
    return sorted(found)
