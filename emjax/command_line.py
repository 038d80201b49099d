"""The parser of the command line: the config file, its preset, and overrides of single fields.

    --config FILE[:PRESET] [--config.FIELD=VALUE ...] [--workdir DIR]

or the same in short, where JOB stands for configs/JOB.py:

    JOB[:PRESET] [--FIELD=VALUE ...] [--workdir DIR]

`ml_collections.config_flags` reads the same form, but answers an unknown field with a bare `AttributeError`, and a
wrong value with a usage page; this module names the field that was probably meant.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from ml_collections import ConfigDict

from emjax.command_completion import SCRIPT, complete
from emjax.command_help import describe_command, describe_job, describe_versions, show
from emjax.config import flatten, nearest, plain
from emjax.errors import InputError
from emjax.field_overrides import choose_parts, override
from emjax.jobs import JOBS
from emjax.logs import LEVELS
from emjax.runs.default_folder import folder_path

REPOSITORY = Path(__file__).resolve().parents[1]
# An installed package holds a copy of the repository's configs/ (setup.py).
SHIPPED = REPOSITORY if (REPOSITORY / "configs").is_dir() else Path(__file__).resolve().parent


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, as for all mistakes of users, and whose help lists the jobs.

    Attributes:
        about: the config file that help is wanted for; '': for the command.
        prefix: what stands before the name of a field: '--config.', or '--' in the short form.
    """

    about: str = ""
    prefix: str = "--config."

    def format_help(self) -> str:
        """Returns the help; the jobs are listed only when the help is requested."""
        if self.about:
            module, preset = _import_config(self.about)
            return describe_job(self.about, module, _make_config(module, preset), self.prefix)
        return f"{describe_command()}\n{super().format_help()}"

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see python -m emjax.main --help")


def end_quietly_when_unread(arguments: Sequence[str]) -> None:
    """Lets a command that only prints end without a traceback when nobody reads any more: `emjax --help | head`.

    For the process of the command itself. Anywhere else a closed socket of a library would end the process, silently.

    Args:
        arguments: the command without the program's name.
    """
    prints = not arguments or not {"-h", "--help", "--print_config"}.isdisjoint(arguments)
    if prints and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def parse(arguments: Sequence[str]) -> tuple[ConfigDict, argparse.Namespace]:
    """Reads a command.

    Args:
        arguments: the command without the program's name.

    Returns:
        The configuration with its overrides, and the other flags: `workdir`, `names_workdir` (whether it was given),
        `coordinator`, `num_processes`, `process_id`, `log_level`, `print_config`.

    Raises:
        InputError: on an unknown flag, config file, preset or field, or a value of the wrong type.
        SystemExit: with status 0, after printing what was asked for: a help, a version. Without arguments, too.
    """
    _answer_shell(arguments)
    parser = _make_parser()
    short = bool(arguments) and not arguments[0].startswith("-")
    if short:
        parser.prefix = "--"
        arguments = _spell_out(arguments)
    rest, overrides = _split_overrides(arguments)
    asks, others = {"-h", "--help"} & set(rest), [a for a in rest if a not in ("-h", "--help")]
    if not arguments:
        parser.parse_args(["--help"])
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
    flags.names_workdir = bool(flags.workdir)
    flags.workdir = os.path.expanduser(flags.workdir or folder_path(config))
    return config, flags


def _answer_shell(arguments: Sequence[str]) -> None:
    """Prints the completion script, or the completions of a line that the script asks for, and ends."""
    if list(arguments[:1]) == ["--completion"]:
        print(SCRIPT)
        raise SystemExit(0)
    if list(arguments[:1]) != ["--complete"] or len(arguments) != 2:
        return
    jobs = [Path(known).stem for known in _known_configs()]

    def presets(job: str) -> list[str]:
        module, _ = _import_config(f"configs/{job}.py")
        return sorted(name for name in getattr(module, "PRESETS", {}) if name)

    def fields(address: str) -> list[str]:
        job, colon, preset = address.partition(":")
        return list(flatten(plain(load_config(f"configs/{job}.py{colon}{preset}"))))

    print("\n".join(complete(arguments[1], jobs, presets, fields)))
    raise SystemExit(0)


def _make_parser() -> _Parser:
    parser = _Parser(
        prog="emjax",
        epilog="Any field of the configuration: --config.FIELD=VALUE, as in --config.seed=1",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=describe_versions())
    parser.add_argument(
        "--completion",
        action="store_true",
        help="print what completes the command in Bash, and end",
    )
    parser.add_argument("--config", required=True, metavar="FILE[:PRESET]", help="configs/*.py")
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help=(
            "run folder; default: runs/JOB, or runs/JOB/NAME for a job with an output NAME; numbered "
            "(runs/JOB-2) where that is of another configuration"
        ),
    )
    parser.add_argument(
        "--print_config", action="store_true", help="print all fields and their values, and end"
    )
    parser.add_argument(
        "--log_level",
        choices=LEVELS,
        default="info",
        help="least important messages that are shown",
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="of a run of several processes")
    parser.add_argument("--num_processes", type=int, metavar="N", help="processes of that run")
    parser.add_argument("--process_id", type=int, metavar="I", help="this process, from 0")
    return parser


def _spell_out(arguments: Sequence[str]) -> list[str]:
    """Returns the long form of `JOB[:PRESET] --FIELD=VALUE`; JOB may be a config file, too.

    Raises:
        InputError: if there is no such job, naming the nearest; or if it has no config file in configs/.
    """
    name, colon, preset = arguments[0].partition(":")
    file = name if name.endswith(".py") else f"configs/{name}.py"
    if not name.endswith(".py") and file not in _known_configs():
        if name in JOBS:
            raise InputError(
                f"job '{name}' has no file configs/{name}.py; give its config file: emjax FILE.py"
            )
        jobs = [Path(known).stem for known in _known_configs()]
        raise InputError(f"no job '{name}'{nearest(name, jobs)}")
    flags = {option for action in _make_parser()._actions for option in action.option_strings}
    spelt = [
        argument
        if argument.partition("=")[0] in flags or not argument.startswith("--")
        else f"--config.{argument.removeprefix('--').removeprefix('config.')}"
        for argument in arguments[1:]
    ]
    return ["--config", f"{file}{colon}{preset}", *spelt]


def load_config(address: str) -> ConfigDict:
    """Runs the `get_config` of a config file.

    Args:
        address: FILE or FILE:PRESET; FILE is looked for in the current folder, then where emjax is: in its
            repository, or in the installed package.

    Returns:
        The configuration, locked: fields that it does not have cannot be set by mistake.

    Raises:
        InputError: if there is no such file (names those that exist), or no such preset.
    """
    return _make_config(*_import_config(address)).lock()


def as_arguments(config: ConfigDict) -> str:
    """Returns all fields as the arguments that would set them, one in a line."""
    return "\n".join(f"--config.{name}={show(v)}" for name, v in flatten(plain(config)).items())


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


def _meant(address: str, unknown: Sequence[str]) -> str:
    """Says how the first unknown argument is written if it is a field: `--input=a` lacks `config.`."""
    given, _, value = unknown[0].lstrip("-").partition("=")
    if given not in flatten(plain(load_config(address))):
        return "see python -m emjax.main --help"
    return f"did you mean --config.{given}={value or 'VALUE'}?"


def _find(name: str) -> Path:
    for folder in (Path.cwd(), SHIPPED):
        if (folder / name).is_file():
            return folder / name
    known = _known_configs()
    raise InputError(f"no config file {name}{nearest(name, known)}")


def _known_configs() -> list[str]:
    found = {
        f"configs/{path.name}"
        for folder in (Path.cwd(), SHIPPED)
        for path in (folder / "configs").glob("*.py")
        if not path.name.startswith("_")
    }
    return sorted(found)
