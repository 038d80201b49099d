"""The order of sections by the numbers in their names, and which of them are missing."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence

_DIGITS = re.compile(r"(\d+)")
# Share of equal steps from which on numbers count as a numbering, and not as times or other marks.
_REGULAR = 0.5


def natural_order(paths: Sequence[str]) -> list[str]:
    """Sorts paths so that 2 comes before 10."""
    return sorted(paths, key=_natural)


def with_gaps(paths: Sequence[str]) -> list[tuple[str, bool]]:
    """Finds the files that a numbering leaves out.

    In each folder, the first number of the names that differs between all files and goes up in steps counts the
    sections. The step is the most frequent one (1, or 50 for sections named by nanometres). Where no number does
    that, nothing is known to be missing.

    Args:
        paths: in natural order.

    Returns:
        (path, whether it is there) of each section, gaps filled with the names that the numbering asks for.
    """
    found = []
    for _, group in itertools.groupby(paths, key=os.path.dirname):
        found += _folder_with_gaps(list(group))
    return found


def _folder_with_gaps(paths: list[str]) -> list[tuple[str, bool]]:
    there = [(path, True) for path in paths]
    parts = [_DIGITS.split(os.path.basename(path)) for path in paths]
    if len({len(p) for p in parts}) > 1:
        return there
    for field in range(1, len(parts[0]), 2):
        numbers = [int(p[field]) for p in parts]
        step = _step(numbers)
        if not step:
            continue
        filled = there[:1]
        for before, after, path in zip(parts, parts[1:], paths[1:], strict=False):
            folder = os.path.dirname(path)
            for number in range(int(before[field]) + step, int(after[field]), step):
                text = str(number).zfill(len(before[field]))
                name = "".join([*before[:field], text, *before[field + 1 :]])
                filled.append((os.path.join(folder, name), False))
            filled.append((path, True))
        return filled
    return there


def _step(numbers: list[int]) -> int:
    """Returns the step of a numbering; 0 where the numbers are none."""
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    if not steps or min(steps) <= 0:
        return 0
    step, count = Counter(steps).most_common(1)[0]
    if count < _REGULAR * len(steps) or any(s % step for s in steps):
        return 0
    return step


def _natural(path: str) -> list[tuple[int, int | str]]:
    return [(0, int(p)) if p.isdecimal() else (1, p) for p in _DIGITS.split(path) if p]
