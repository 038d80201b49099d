"""The work folder of a command that names none: the same command finds its own again, and never takes another's.

- A job that writes an `output` works in `runs/JOB/NAME`, where NAME is that of the output.
- Any other job works in `runs/JOB`.

A folder that is of another output, or of a run of another configuration, is left alone: the next number is taken, as in
`runs/JOB-2`. What is of no use to anybody, because its run was refused or was stopped before it did anything, is taken
over. Imports no jax.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from emjax.runs.folder import (
    CONFIG_FILE,
    RESULTS_FILE,
    describe_changes,
    has_begun,
    may_go_on,
    read_stored,
)

# Jobs whose folder is nothing but a record of their last run: every run may use the folder of any other.
TAKEN_OVER = ("view",)
# What jobs on blocks, on trials or on several stages leave once they have begun.
_LEFT = ("parts", "blocks", "graph", "trials.jsonl", f"*/{CONFIG_FILE}")
# Everything but these characters is left out of the name of a folder.
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")
_SUFFIX = re.compile(r"\.(zarr|n5|precomputed|h5|hdf5|hdf|tiff?|png|swc)$", re.IGNORECASE)


class Chosen(NamedTuple):
    """The work folder of a command.

    Attributes:
        number: 1 for the folder without a number.
        remark: why it has a number: which folder is another's, and in what that differs; '' without a number.
    """

    number: int
    remark: str


def folder_path(config: ConfigDict, number: int = 1) -> str:
    """Returns the path of a default folder, from the current folder.

    Args:
        config: configuration of the command.
        number: as `choose_folder` returns it.
    """
    name = _output_name(config)
    path = f"runs/{config.job}/{name}" if name else f"runs/{config.job}"
    return path if number == 1 else f"{path}-{number}"


def find_folder(config: ConfigDict) -> str:
    """Returns the default folder of a command, as long as no run works in another one; writes nothing.

    Args:
        config: configuration of the command.
    """
    return folder_path(config, 1 if config.job in TAKEN_OVER else choose_folder(config).number)


def choose_folder(
    config: ConfigDict, is_held: Callable[[str], bool] = lambda path: False
) -> Chosen:
    """Chooses the default folder of a command; writes nothing.

    Args:
        config: configuration of the command.
        is_held: says of a folder whether a run works in it now.
    """
    base = Path(folder_path(config))
    numbers = _numbers(base)
    # The same command goes on where it stopped, also where a lower number has become free since.
    own = [n for n in numbers if _is_own(folder_path(config, n), config)]
    begun = [n for n in own if is_in_use(folder_path(config, n))]
    if config.get("overwrite", False) and not own and not _output_name(config):
        # What it may delete is the run that the user sees under the plain name.
        return Chosen(1, "")
    others = []
    number = 1
    while _is_other(folder_path(config, number), config, is_held):
        others.append(number)
        number += 1
    number = next(iter([*begun, *own]), number)
    if number == 1:
        return Chosen(1, "")
    # The nearest of the others says most about what was changed last.
    before = [n for n in others if n < number] or [n for n in numbers if n < number] or [1]
    return Chosen(number, _remark(config, before[-1], number, goes_on=number in begun))


def _remark(config: ConfigDict, other: int, number: int, *, goes_on: bool) -> str:
    path, before = folder_path(config, number), folder_path(config, other)
    changes = describe_changes(before, config) or "unknown configuration"
    verb = "goes on in" if goes_on else "works in"
    remark = f"{before} is of another configuration ({changes}): this run {verb} {path}"
    stored = read_stored(before)
    steps = (stored or {}).get("num_steps")
    if changes.startswith("num_steps: ") and ";" not in changes and not goes_on:
        remark += (
            f", from the start, as its learning rates are spread over num_steps; to train the weights of {before} on "
            f"instead of starting again: --config.init_from={before} (they have seen {steps} steps)"
        )
    return remark


def _output_name(config: ConfigDict) -> str:
    """Returns the last part of the output's path without its suffix, as the name of a folder; '' without an output."""
    output = str(config.get("output") or "").rstrip("/")
    path, colon, dataset = output.rpartition(":")
    # The colon of a URL's scheme is no dataset's.
    if not colon or dataset.startswith("//"):
        path, dataset = output, ""
    name = _SUFFIX.sub("", re.split(r"[/\\]", path.rstrip("/"))[-1])
    return _UNUSUAL.sub("-", f"{name}-{dataset}" if dataset else name).strip(".-")


def _numbers(base: Path) -> list[int]:
    """Returns the numbers of the default folders that exist, in their order."""
    pattern = re.compile(rf"{re.escape(base.name)}(?:-([2-9]|[1-9][0-9]+))?$")
    found = [pattern.match(e.name) for e in base.parent.iterdir()] if base.parent.is_dir() else []
    return sorted(int(match[1] or 1) for match in found if match)


def _is_own(path: str, config: ConfigDict) -> bool:
    """Whether a folder was made by the same command, or for the same output."""
    stored = read_stored(path)
    if stored is None:
        return False
    if _output_name(config):
        return _place(stored) == _place(config)
    return may_go_on(stored, config)


def _is_other(path: str, config: ConfigDict, is_held: Callable[[str], bool]) -> bool:
    """Whether a folder is of use to another command."""
    stored = read_stored(path)
    if _is_own(path, config):
        return False
    if stored is not None and (_output_name(config) or is_held(path)):
        return True
    return is_in_use(path)


def is_in_use(path: str | os.PathLike[str]) -> bool:
    """Whether a run has done anything in a folder that the same command would go on with."""
    folder = Path(path)
    if (folder / RESULTS_FILE).exists() or has_begun(folder):
        return True
    return any(next(folder.glob(name), None) is not None for name in _LEFT)


def _place(config: ConfigDict | Mapping[str, Any]) -> str:
    """Returns the output of a configuration, by a name that does not depend on how its path is written."""
    output = str(config.get("output") or "").rstrip("/")
    return output if "://" in output else os.path.abspath(os.path.expanduser(output))
