"""How often each part of a compiled program runs, read from its text.

XLA on CPUs writes the rounds into a loop (`known_trip_count`). On TPUs they follow from the counter: where it starts,
what a round adds to it, and the constant that the condition compares it with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Computations = dict[str, list[str]]

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) (?:\(.*\) -> .*)?\{")
_CALLED = re.compile(
    r"\b(body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
)
_CALLED_LIST = re.compile(r"\b(?:branch_computations|called_computations)=\{([^}]*)\}")
_COMMENT = re.compile(r"/\*.*?\*/")
_SCALAR = r"[su]32\[\]\S*"


def split_computations(text: str) -> tuple[Computations, str]:
    """Returns the lines of each computation, and the name of the entry."""
    found: Computations = {}
    entry, lines = "", None
    for line in text.splitlines():
        if line.startswith("}"):
            lines = None
        elif lines is not None:
            lines.append(line)
        elif match := _COMPUTATION.match(line):
            lines = found.setdefault(match[2], [])
            entry = match[2] if match[1] else entry
    return found, entry


def count_runs(computations: Computations, entry: str) -> tuple[dict[str, int], set[str]]:
    """Returns how often each computation that is reached runs, and the bodies of loops whose rounds are not known.

    Args:
        computations: as made by `split_computations`; callees stand before their callers.
        entry: likewise.
    """
    times, unknown = {entry: 1}, set()
    for name in reversed(list(computations)):
        for line in computations[name] if name in times else ():
            called = list(_calls(line))
            loop, rounds = dict(called), 1
            if "body" in loop:
                parts = (computations.get(loop[key], []) for key in ("condition", "body"))
                known = _rounds(line, computations[name], *parts)
                rounds = known or 1
                unknown |= set() if known else {loop["body"]}
            for _, callee in called:
                times[callee] = times.get(callee, 0) + times[name] * rounds
    return times, unknown


def callers(computations: Computations, names: set[str]) -> set[str]:
    """Returns the computations given, and all that run one of them."""
    found = set(names)
    for name, lines in computations.items():
        if any(callee in found for line in lines for _, callee in _calls(line)):
            found.add(name)
    return found


def _calls(line: str) -> Iterator[tuple[str, str]]:
    """Yields (how, computation) for all that an instruction runs."""
    # What an asynchronous operation runs, it runs at its start.
    if re.search(r" [\w\-]+-(done|update)\(", line):
        return
    yield from _CALLED.findall(line)
    for names in _CALLED_LIST.findall(line):
        yield from (("branch", name.strip(" %")) for name in names.split(",") if name.strip())


def _rounds(line: str, caller: Sequence[str], condition: Sequence[str], body: Sequence[str]) -> int:
    """Returns how often a loop runs; 0 where that cannot be read."""
    if known := re.search(r'known_trip_count[^}]*?"n":"(\d+)"', line):
        return int(known[1])
    compared = next((text for text in condition if "direction=LT" in text and "ROOT" in text), "")
    operands = _operands(compared, "compare")
    initial = _operands(line, "while")
    root = next((text for text in body if "ROOT" in text), "")
    if len(operands) != 2 or not initial:
        return 0
    counter, limit = _line(condition, operands[0]), _constant(condition, operands[1])
    index = re.search(r" get-tuple-element\(.*index=(\d+)", counter)
    starts, ends = _operands(_line(caller, initial[0]), "tuple"), _operands(root, "tuple")
    if limit is None or not index or int(index[1]) >= min(len(starts), len(ends)):
        return 0
    start, step = (
        _constant(caller, starts[int(index[1])]),
        _step(body, ends[int(index[1])], index[1]),
    )
    return -(-(limit - start) // step) if start is not None and step else 0


def _step(body: Sequence[str], name: str, index: str) -> int:
    """Returns what a round adds to the counter, in one sum or in several; 0 where that cannot be read."""
    line, step = _line(body, name), 0
    while operands := _operands(line, "add"):
        constants = [_constant(body, operand) for operand in operands]
        if constants.count(None) != 1:
            return 0
        step += next(value for value in constants if value is not None)
        line = _line(body, operands[constants.index(None)])
    return step if re.search(rf" get-tuple-element\(.*index={index}\b", line) else 0


def _line(lines: Sequence[str], name: str) -> str:
    """Returns the instruction of a name, behind copies; '' for none."""
    start = re.compile(rf"\s*(ROOT )?%?{re.escape(name)} = ")
    line = next((text for text in lines if start.match(text)), "")
    copied = _operands(line, "copy")
    return _line(lines, copied[0]) if copied else line


def _constant(lines: Sequence[str], name: str) -> int | None:
    found = re.search(rf"= {_SCALAR} constant\((-?\d+)\)", _line(lines, name))
    return int(found[1]) if found else None


def _operands(line: str, operation: str) -> list[str]:
    """Returns the names that an operation takes, none for another operation."""
    found = re.search(rf" {operation}\(([^()]*)\)", _COMMENT.sub("", line))
    # Some texts give the types of operands as well, before their names.
    return (
        [part.split()[-1].lstrip("%") for part in found[1].split(",")] if found and found[1] else []
    )
