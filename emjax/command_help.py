"""The help of the command line: what jobs there are, and the fields of one of them with what its config file says."""

from __future__ import annotations

import importlib.metadata
import inspect
import platform
import textwrap
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from emjax.config import flatten, plain
from emjax.config_comments import comment_on
from emjax.jobs import describe_jobs

WIDTH = 100  # characters of a line
_COLUMN = 34  # where comments begin


def describe_command() -> str:
    """Returns the list of jobs, and how one is started."""
    described = describe_jobs()
    width = max(map(len, described))
    jobs = "".join(f"  {name:<{width}}  {line}\n" for name, line in described.items())
    return (
        "emjax segments electron-microscopy volumes. Each job has a file configs/JOB.py:\n\n"
        f"{jobs}\n"
        "  emjax JOB --help                 the presets and fields of a job\n"
        "  emjax JOB[:PRESET] --FIELD=VALUE run it; the same as\n"
        "  python -m emjax.main --config configs/JOB.py[:PRESET] --config.FIELD=VALUE\n"
    )


def describe_job(address: str, module: ModuleType, config: ConfigDict, prefix: str) -> str:
    """Returns what a config file says of itself, and its fields with their values and comments.

    Args:
        address: of the config file, as it was given.
        module: the config file.
        config: what it returns for the preset that was asked for.
        prefix: what comes before the name of a field on the command line, '--config.' or '--'.
    """
    fields = {name: v for name, v in flatten(plain(config)).items() if name != "job"}
    # Single fields first, then the groups.
    groups = sorted({name.rpartition(".")[0] for name in fields}, key=lambda g: (g != "", g))
    lines = [(inspect.getdoc(module) or "").rstrip(), "", f"Fields of {address}:"]
    for group in groups:
        about = comment_on(config, group) if group else ""
        lines += ["", f"{group}: {about}".rstrip(": ")] if group else [""]
        for name in sorted(n for n in fields if n.rpartition(".")[0] == group):
            left = f"  {prefix}{name}={show(fields[name])}"
            lines += _two_columns(left, comment_on(config, name))
    return "\n".join([*lines, ""])


def describe_versions() -> str:
    """Returns the version of emjax, and of what its results depend on; imports none of them."""
    return (
        f"emjax {importlib.metadata.version('emjax')} (jax {importlib.metadata.version('jax')}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()})"
    )


def show(value: Any) -> str:
    """Returns the value of a field as it is written on the command line."""
    if isinstance(value, tuple | list):
        return ",".join(f"({show(i)})" if isinstance(i, tuple | list) else show(i) for i in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _two_columns(left: str, right: str) -> Iterable[str]:
    wrapped = textwrap.wrap(right, WIDTH - _COLUMN) if right else []
    if not wrapped:
        return [left]
    if len(left) >= _COLUMN - 1:
        return [left, *(" " * _COLUMN + line for line in wrapped)]
    return [f"{left:<{_COLUMN}}{wrapped[0]}", *(" " * _COLUMN + line for line in wrapped[1:])]
