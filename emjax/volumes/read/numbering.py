"""Orders sections by the numbers in their names, and finds missing sections and files that are not sections."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence

_DIGITS = re.compile(r"(\d+)")
# Least share of equal steps for numbers to count as a numbering, and not as times or other marks.
_REGULAR = 0.5
# Least number of files with similar names that make a numbering, so that other files are strangers.
_FEW = 3


def natural_order(paths: Sequence[str]) -> list[str]:
    """Sorts paths so that 2 comes before 10, and -2 before -1 if names without a minus sign lie beside them."""
    minus = {folder: _signed(list(group)) for folder, group in _by_folder(sorted(paths))}
    return sorted(paths, key=lambda path: _natural(path, minus[os.path.dirname(path)]))


def with_gaps(paths: Sequence[str]) -> list[tuple[str, bool]]:
    """Finds the files that are missing in a numbering.

    In each folder, the sections are counted by the first number of the names that differs between all files and rises
    in steps. The step is the most frequent one (1, or 50 for sections named by nanometres). Where names are of several
    kinds, or the numbers before it rise as well (r1_s1, r1_s2, r2_s1), each kind is counted by itself. Where no number
    rises in steps, nothing is known to be missing.

    Args:
        paths: in natural order.

    Returns:
        (path, whether the file exists) of each section; gaps get the names that the numbering implies.
    """
    found = []
    for _, group in _by_folder(paths):
        folder = list(group)
        minus = _signed(folder)
        for _, alike in itertools.groupby(folder, key=lambda path: _template(path, minus)):
            found += _with_gaps(list(alike), minus)
    return found


def strangers(paths: Sequence[str]) -> list[str]:
    """Returns the files whose names do not fit the numbering of the other files in their folder.

    They would be stacked as sections: an overview among sections s000, s001, ..., or a copy s002_2.

    Args:
        paths: in natural order.

    Returns:
        Files with names of another kind than most, or with a number that another file has as well; empty where the
        names are not numbered.
    """
    found = []
    for _, group in _by_folder(paths):
        folder = list(group)
        minus = _signed(folder)
        kinds: dict[tuple[str, ...], list[str]] = {}
        for path in folder:
            kinds.setdefault(_template(path, minus), []).append(path)
        most = max(kinds.values(), key=len)
        # Of files with equal numbers, s1 and s01, only one can be that section.
        unique = list({tuple(_numbers(path, minus)): path for path in reversed(most)}.values())
        if len(unique) < _FEW or not _field(unique[::-1], minus):
            continue
        runs = [key for key, _ in itertools.groupby(folder, key=lambda p: _template(p, minus))]
        for key, members in kinds.items():
            # Parts named a_001, ... and b_001, ... follow each other; copies lie between the sections.
            part = len(members) >= _FEW and runs.count(key) == 1 and bool(_field(members, minus))
            if members is not most and not part:
                found += members
        found += [path for path in most if path not in set(unique)]
    return found


def _by_folder(paths: Sequence[str]) -> itertools.groupby[str, str]:
    return itertools.groupby(paths, key=os.path.dirname)


def _with_gaps(paths: list[str], minus: bool) -> list[tuple[str, bool]]:
    """Fills the gaps between the files of one folder whose names are of one kind."""
    field = _field(paths, minus)
    if field:
        return _filled(paths, field, minus)
    last = _last_varying(paths, minus)
    if last is None or len(paths) < 2:
        return [(path, True) for path in paths]
    # The numbering begins anew with each value of the numbers before it.
    found = []
    for _, group in itertools.groupby(paths, key=lambda path: _split(path, minus)[:last]):
        part = list(group)
        if len(part) == len(paths):
            return [(path, True) for path in paths]
        field = _field(part, minus) if len(part) >= _FEW else 0
        found += _filled(part, field, minus) if field else [(path, True) for path in part]
    return found


def _filled(paths: list[str], field: int, minus: bool) -> list[tuple[str, bool]]:
    parts = [_split(path, minus) for path in paths]
    step = _step([int(p[field]) for p in parts])
    filled = [(paths[0], True)]
    for before, after, path in zip(parts, parts[1:], paths[1:], strict=False):
        folder = os.path.dirname(path)
        for number in range(int(before[field]) + step, int(after[field]), step):
            width = len(before[field].removeprefix("-"))
            text = ("-" if number < 0 else "") + str(abs(number)).zfill(width)
            name = "".join([*before[:field], text, *before[field + 1 :]])
            filled.append((os.path.join(folder, name), False))
        filled.append((path, True))
    return filled


def _field(paths: list[str], minus: bool) -> int:
    """Returns the index of the part of the names that counts the files; 0 if there is none."""
    parts = [_split(path, minus) for path in paths]
    if len({len(p) for p in parts}) > 1:
        return 0
    return next(
        (field for field in range(1, len(parts[0]), 2) if _step([int(p[field]) for p in parts])), 0
    )


def _last_varying(paths: list[str], minus: bool) -> int | None:
    parts = [_split(path, minus) for path in paths]
    varying = [f for f in range(1, len(parts[0]), 2) if len({p[f] for p in parts}) > 1]
    return varying[-1] if varying else None


def _step(numbers: list[int]) -> int:
    """Returns the step of a numbering; 0 if the numbers are no numbering."""
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    if not steps or min(steps) <= 0:
        return 0
    counts = Counter(steps)
    # Of equally frequent steps the smallest is taken: 0, 2, 3 lacks 1.
    step, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    if count < _REGULAR * len(steps) or any(s % step for s in steps):
        return 0
    return step


def _signed(paths: list[str]) -> bool:
    """Whether a minus before a number is a sign, in a folder: the same names exist without the minus."""
    plain = {_template(path, False) for path in paths}
    for template in plain:
        for i, text in enumerate(template[:-1]):
            if text.endswith("-") and (*template[:i], text[:-1], *template[i + 1 :]) in plain:
                return True
    return False


def _template(path: str, minus: bool) -> tuple[str, ...]:
    """Returns the parts of a name between its numbers."""
    return tuple(_split(path, minus)[::2])


def _numbers(path: str, minus: bool) -> list[int]:
    return [int(part) for part in _split(path, minus)[1::2]]


def _split(path: str, minus: bool) -> list[str]:
    """Splits a name at its numbers, which are every second part; a minus that is a sign belongs to its number."""
    parts = _DIGITS.split(os.path.basename(path))
    if minus:
        for i in range(1, len(parts), 2):
            if parts[i - 1].endswith("-"):
                parts[i - 1], parts[i] = parts[i - 1][:-1], "-" + parts[i]
    return parts


def _natural(path: str, minus: bool) -> list[tuple[int, int | str]]:
    folder = [
        (0, int(p)) if p.isdecimal() else (1, p) for p in _DIGITS.split(os.path.dirname(path)) if p
    ]
    # The end of a folder's name sorts before any name inside the folder.
    end: list[tuple[int, int | str]] = [(-1, 0)]
    name = [(0, int(p)) if i % 2 else (1, p) for i, p in enumerate(_split(path, minus)) if p]
    return [*folder, *end, *name]
