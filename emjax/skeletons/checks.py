"""What can be wrong with the lines of an SWC file, and how it is mended."""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.skeletons.rows import Rows
from emjax.skeletons.skeleton import sums_to_root

# Kinds of problems.
NUMBER_TWICE, NO_PARENT, RING = "a number twice", "a missing parent", "a ring"
NOT_FINITE, RADIUS, ORDER, ROOTS = "no number", "no radius", "late parents", "several roots"


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something wrong with a line.

    Attributes:
        line: its number in the file, from 1.
        kind: one of the constants of this module.
        text: what is wrong.
        mended: what `mend` does about it; '' if nothing can be done.
        fatal: whether the file is no tree for it.
    """

    line: int
    kind: str
    text: str
    mended: str
    fatal: bool


def check(rows: Rows) -> list[Problem]:
    """Returns what is wrong with a file, in the order of its lines.

    Args:
        rows: lines of the file.
    """
    found = [*_numbers(rows), *_values(rows), *_parents(rows), *_rings(rows)]
    return sorted(found, key=lambda problem: problem.line)


def mend(rows: Rows) -> Rows:
    """Mends what can be mended: see `Problem.mended`.

    Args:
        rows: lines of a file, all of whose fatal problems can be mended.

    Returns:
        The lines, parents before their children, numbered from 1.
    """
    usual = _usual_radius(rows.values[:, 3])
    first = np.unique(rows.numbers, return_index=True)[1]
    rows = rows.take(np.sort(first))
    places = rows.parent_places()
    places[places == len(rows)] = -1
    places[_ring_starts(places)] = -1
    order = np.arange(len(rows))
    if (places > order).any():
        order = np.argsort(sums_to_root(places, (places >= 0).astype(np.int64)), kind="stable")
    number = np.empty(len(rows), np.int64)
    number[order] = np.arange(1, len(rows) + 1)
    parents = np.where(places >= 0, number[places], -1)
    values = rows.values.copy()
    bad = ~(values[:, 3] > 0)
    values[bad, 3] = usual
    return dataclasses.replace(rows, numbers=number, parents=parents, values=values).take(order)


def _usual_radius(radii: np.ndarray) -> float:
    known = radii[radii > 0]
    return float(np.median(known)) if len(known) else 1.0


def _numbers(rows: Rows) -> list[Problem]:
    numbers, first, inverse = np.unique(rows.numbers, return_index=True, return_inverse=True)
    found = []
    for i in np.flatnonzero(first[inverse] != np.arange(len(rows))):
        j = first[inverse[i]]
        same = rows.parents[i] == rows.parents[j] and np.array_equal(rows.values[i], rows.values[j])
        found.append(
            Problem(
                int(rows.lines[i]),
                NUMBER_TWICE,
                f"two points have one number, {rows.numbers[i]}: the other is in line {rows.lines[j]}; each needs its "
                "own",
                "left out, since both are the same" if same else "",
                True,
            )
        )
    return found


def _values(rows: Rows) -> list[Problem]:
    found = []
    for i in np.flatnonzero(~np.isfinite(rows.values).all(axis=1)):
        text = "a coordinate or radius is not finite"
        found.append(Problem(int(rows.lines[i]), NOT_FINITE, text, "", True))
    usual = _usual_radius(rows.values[:, 3])
    for i in np.flatnonzero(rows.values[:, 3] <= 0):
        text = f"radius {rows.values[i, 3]:g} is not above 0"
        mended = f"radius {usual:g}, as is usual in this file"
        found.append(Problem(int(rows.lines[i]), RADIUS, text, mended, False))
    return found


def _parents(rows: Rows) -> list[Problem]:
    places, found = rows.parent_places(), []
    for i in np.flatnonzero(places == len(rows)):
        text = f"the parent {rows.parents[i]} of point {rows.numbers[i]} is not in the file"
        found.append(Problem(int(rows.lines[i]), NO_PARENT, text, "made a root", True))
    for i in np.flatnonzero((places > np.arange(len(rows))) & (places < len(rows))):
        text = f"parent {rows.parents[i]} comes later, in line {rows.lines[places[i]]}"
        found.append(Problem(int(rows.lines[i]), ORDER, text, "sorted", False))
    roots = np.flatnonzero(places < 0)
    for i in roots[1:]:
        text = f"another root, after that in line {rows.lines[roots[0]]}"
        mended = "kept: a tree of its own; join=LENGTH of the job swc joins near ones"
        found.append(Problem(int(rows.lines[i]), ROOTS, text, mended, False))
    return found


def _rings(rows: Rows) -> list[Problem]:
    places = rows.parent_places()
    places[places == len(rows)] = -1
    found = []
    for i in _ring_starts(places):
        itself = places[i] == i
        text = (
            f"point {rows.numbers[i]} is its own parent"
            if itself
            else f"point {rows.numbers[i]} is in a ring of parents; a skeleton is made of trees"
        )
        found.append(
            Problem(int(rows.lines[i]), RING, text, "made a root, so that the ring is open", True)
        )
    return found


def _ring_starts(places: np.ndarray) -> np.ndarray:
    """Returns the first point of each ring of parents, `[k]` indices."""
    above, steps = places.copy(), 1
    # After n steps only points whose way leads into a ring have an ancestor, and these ancestors are all of its points.
    while steps < len(places):
        above = np.where(above >= 0, above[above], -1)
        steps *= 2
    inside = np.unique(above[above >= 0])
    starts, seen = [], np.zeros(len(places), bool)
    for i in inside.tolist():
        if seen[i]:
            continue
        starts.append(i)
        while not seen[i]:
            seen[i] = True
            i = int(places[i])
    return np.asarray(starts, np.int64)
