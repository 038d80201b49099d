"""SWC, the text format in which skeletons are exchanged: a line is number, type, x, y, z, radius, parent."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.runs.whole_file import write_whole
from emjax.skeletons.checks import Problem, check, mend
from emjax.skeletons.rows import parse_rows
from emjax.skeletons.skeleton import Skeleton
from emjax.skeletons.unit import Unit

# Decimals of coordinates and radii: far below a voxel, a nanometre or a micrometre's last meaningful one.
_DECIMALS = 6


@dataclasses.dataclass(frozen=True)
class CheckedSwc:
    """A file and what is wrong with it.

    Attributes:
        skeleton: all trees of the file, in its unit.
        problems: in the order of their lines.
    """

    skeleton: Skeleton
    problems: tuple[Problem, ...]


def read_swc(path: str | os.PathLike[str]) -> Skeleton:
    """Reads an SWC file; its points may stand in any order, radii may be 0, and there may be several trees.

    Args:
        path: file with lines of number, type, x, y, z, radius and the number of the parent, -1 for none; '#' begins a
            comment. More columns are left alone.

    Returns:
        All trees of the file as one skeleton, in its unit.

    Raises:
        InputError: if the file does not exist or is no SWC; names the line.
    """
    return check_swc(path).skeleton


def check_swc(path: str | os.PathLike[str], repair: bool = False) -> CheckedSwc:
    """Reads an SWC file, and says what is wrong with it.

    Args:
        path: of the file.
        repair: whether to mend what can be mended; `Problem.mended` says how.

    Raises:
        InputError: if the file does not exist or is no SWC, or it has a problem for which it is no tree and which is
            not to be mended, or cannot be; names the line.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"cannot read skeleton {path}: {reason}") from error
    rows = parse_rows(text, str(path))
    problems = check(rows)
    fatal = [p for p in problems if p.fatal and not (repair and p.mended)]
    if fatal:
        more = f" (and {len(fatal) - 1} more such lines)" if len(fatal) > 1 else ""
        advice = (
            "; the job swc mends that: configs/swc.py with --config.repair=true"
            if all(p.mended for p in fatal)
            else ""
        )
        raise InputError(f"{path}, line {fatal[0].line}: {fatal[0].text}{more}{advice}")
    if repair:
        rows = mend(rows)
    return CheckedSwc(rows.skeleton(path.stem), tuple(problems))


def write_swc(
    path: str | os.PathLike[str], skeleton: Skeleton, unit: Unit, comments: Sequence[str] = ()
) -> None:
    """Writes an SWC file, in one piece; each parent stands before its children, along whole branches.

    Args:
        path: of the file.
        skeleton: in `unit`.
        unit: which the file says in a comment.
        comments: lines that the file begins with.

    Raises:
        OSError: if the file cannot be written.
    """
    order = depth_first(skeleton.parents)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(1, len(order) + 1)
    lines = [f"# {line}" for line in comments]
    lines += [f"# unit: {unit.name}; 0 is {unit.origin}", "# number type x y z radius parent"]
    for i in order.tolist():
        values = (*skeleton.positions[i, ::-1], skeleton.radii[i])
        # Adding 0 makes -0 a plain 0.
        shown = (
            np.format_float_positional(round(float(v), _DECIMALS) + 0, trim="-") for v in values
        )
        parent = skeleton.parents[i]
        above = number[parent] if parent >= 0 else -1
        lines.append(f"{number[i]} {skeleton.types[i]} {' '.join(shown)} {above}")
    write_whole(path, "\n".join([*lines, ""]).encode())


def depth_first(parents: np.ndarray) -> np.ndarray:
    """Returns the points in an order in which each branch is walked to its end, `[n]` int64 indices.

    Args:
        parents: `[n]` int64; -1 for roots.
    """
    children: list[list[int]] = [[] for _ in parents]
    stack = []
    for i, parent in reversed(list(enumerate(parents.tolist()))):
        (children[parent] if parent >= 0 else stack).append(i)
    found = []
    while stack:
        i = stack.pop()
        found.append(i)
        stack += children[i]
    return np.asarray(found, np.int64)


def find_swc(text: str, field: str) -> list[Path]:
    """Returns the files that a field names, sorted.

    Args:
        text: an SWC file, or a folder or pattern of SWC files.
        field: configuration field, for the message.

    Raises:
        InputError: if there is none.
    """
    path = Path(os.path.expanduser(text))
    if path.is_file():
        return [path]
    pattern = str(path / "*.swc") if path.is_dir() else str(path)
    files = sorted(map(Path, glob.glob(pattern)))
    if not files:
        raise InputError(
            f"{field}={text}: no file {pattern}; give an SWC file, or a folder or pattern of them"
        )
    return files


def read_neurons(text: str, unit: Unit, voxel_nm: Triple | None) -> list[Skeleton]:
    """Reads neurons, and returns one skeleton for each, in nm.

    Args:
        text: an SWC file, in which each tree is a neuron; or a folder or pattern of SWC files, each of which is one.
        unit: of the files.
        voxel_nm: (z, y, x) voxel size, nm; None where it is not known.

    Raises:
        InputError: if no file exists, one is no SWC, or lengths are not known.
    """
    files = find_swc(text, "skeletons")
    found = [unit.in_nm(read_swc(file), voxel_nm) for file in files]
    return found[0].trees() if os.path.isfile(os.path.expanduser(text)) else found


def log_problems(checked: CheckedSwc, repaired: bool) -> None:
    """Logs what is wrong with a file, a few lines of each kind.

    Args:
        checked: the file.
        repaired: whether it was mended.
    """
    shown: dict[str, int] = {}
    for problem in checked.problems:
        shown[problem.kind] = shown.get(problem.kind, 0) + 1
        if shown[problem.kind] <= 3:
            how = f": {problem.mended}" if repaired and problem.mended else ""
            logging.warning(
                "%s, line %d: %s%s", checked.skeleton.name, problem.line, problem.text, how
            )
    for kind, count in shown.items():
        if count > 3:
            logging.warning("%s: %d lines in all with %s", checked.skeleton.name, count, kind)
