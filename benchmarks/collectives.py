"""What a compiled step sends between devices, read from the text of the compiled program.

How it is counted:

- An asynchronous operation is its `-start`; `-done` and `-update` are no operations of their own, nor is what a fusion
  around a part of one repeats (each channel counts once).
- What a loop's body sends counts once for each round (see `loops.py`), of the branches of a conditional each as if it
  ran. A loop whose rounds cannot be read counts once and is reported.
- On TPUs a reduce-scatter is a fusion called `all-reduce-scatter` around an all-reduce; it counts as a reduce-scatter.

Bytes on the wire are those that each device sends in a ring of the n devices of its group, of S bytes in all:
all-reduce `2 (n - 1) / n S`, all-gather, reduce-scatter and all-to-all `(n - 1) / n S`, collective-permute `S`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re

import numpy as np
from loops import callers, count_runs, split_computations

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128}
_SHAPE = re.compile(r"\b(pred|bf16|[suf]\d+|f8\w+|c64|c128)\[([\d,]*)\]")
_OPERATION = re.compile(rf"= (.*?) ({'|'.join(KINDS)}|ragged-all-to-all)(-start)?\(")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{([^}]*)\}"
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One operation between devices.

    Attributes:
        kind: one of `KINDS`.
        size_bytes: S, of the whole array that is gathered, reduced or sent.
        group: devices that take part with device 0 or, if that one does not, with the first that does; of a
            permutation, the device and the one that it sends to.
        times: how often a step runs it.
    """

    kind: str
    size_bytes: int
    group: tuple[int, ...]
    times: int = 1

    @property
    def wire_bytes(self) -> float:
        """Bytes that each device sends in a step, by the formulas above."""
        return self.times * wire_bytes(self.kind, self.size_bytes, len(self.group))


def wire_bytes(kind: str, size_bytes: float, count: int) -> float:
    """Returns the bytes that each device sends, once.

    Args:
        kind: one of `KINDS`.
        size_bytes: of the whole array that is gathered, reduced or sent.
        count: devices of the group.
    """
    if count < 2:
        return 0.0
    if kind == "collective-permute":
        return float(size_bytes)
    return (2 if kind == "all-reduce" else 1) * (count - 1) / count * size_bytes


def read_collectives(text: str, devices: int) -> tuple[list[Collective], list[str]]:
    """Reads the operations between devices from a compiled program.

    Args:
        text: `Compiled.as_text()`.
        devices: that the program runs on.

    Returns:
        The operations, and names of loops that send something and whose rounds are not known.

    Raises:
        ValueError: for a form of an operation that is not known here; nothing is left out in silence.
    """
    computations, entry = split_computations(text)
    times, unknown = count_runs(computations, entry)
    found: dict[object, Collective] = {}
    for name, lines in computations.items():
        for number, line in enumerate(lines):
            match = _OPERATION.search(line)
            if match is None or name not in times:
                continue
            if match[2] not in KINDS:
                raise ValueError(f"{match[2]} is not known here: {line.strip()[:200]}")
            one = _collective(match, line, devices, name)
            one = dataclasses.replace(one, times=times[name])
            channel = re.search(r"channel_id=(\d+)", line)
            key = channel[1] if channel else (name, number)
            if key not in found or found[key].times < one.times:
                found[key] = one
    sends = {name for name, lines in computations.items() if any(map(_OPERATION.search, lines))}
    return list(found.values()), sorted(unknown & callers(computations, sends))


def _collective(match: re.Match[str], line: str, devices: int, computation: str) -> Collective:
    shapes, kind, start = match[1], match[2], bool(match[3])
    sizes = [_bytes(*shape) for shape in _SHAPE.findall(shapes)]
    if start and kind != "all-reduce":
        # (operands, results, contexts): contexts are scalars.
        sizes = [_bytes(*shape) for shape in _SHAPE.findall(shapes) if shape[1]]
        sizes = sizes[len(sizes) // 2 :]
    size, group = sum(sizes), _group(line, devices)
    if kind == "reduce-scatter":
        size *= len(group)
    elif kind == "all-reduce" and "all-reduce-scatter" in computation:
        kind = "reduce-scatter"
    return Collective(kind, size, group)


def _bytes(dtype: str, shape: str) -> int:
    bits = _BITS.get(dtype) or (8 if dtype.startswith("f8") else int(dtype[1:]))
    return math.prod(int(n) for n in shape.split(",") if n) * bits // 8


def _group(line: str, devices: int) -> tuple[int, ...]:
    """Returns the devices of one group; all groups of an operation are equally large."""
    if pairs := re.search(r"source_target_pairs=\{\{(\d+),(\d+)\}", line):
        source, target = int(pairs[1]), int(pairs[2])
        return (source,) if source == target else (source, target)
    if "source_target_pairs={}" in line:
        return (0,)
    if found := _IOTA.search(line):
        return tuple(_order(found[2], found[3]).reshape(_whole(found[1]))[0].tolist())
    if found := _MESH.search(line):
        return _mesh_group(*found.groups())
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return tuple(_whole(found[1]))
    if "replica_groups={}" in line:
        return tuple(range(devices))
    raise ValueError(f"groups of this form are not known here: {line.strip()[:300]}")


def _mesh_group(axes: str, shape: str | None, turned: str | None, chosen: str) -> tuple[int, ...]:
    """Reads mesh['data'=2,'fsdp'=4], device_ids=([4,2]T(1,0)) {'fsdp'}; of 'fsdp':(2)2, the inner half of that axis."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    grid = _order(shape or str(math.prod(sizes.values())), turned).reshape(tuple(sizes.values()))
    parts = {name: (1, size) for name, size in sizes.items()}
    picked = set()
    for name, before, size in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", chosen):
        parts[name] = (int(before), int(size)) if size else parts[name]
        picked.add(name)
    split = [
        n
        for name, (before, size) in parts.items()
        for n in (before, size, sizes[name] // before // size)
    ]
    at = [i for name in sizes for i in (0, slice(None) if name in picked else 0, 0)]
    return tuple(grid.reshape(split)[tuple(at)].ravel().tolist())


def _order(shape: str, turned: str | None) -> np.ndarray:
    """Numbers devices in a shape, and turns it."""
    order = np.arange(math.prod(_whole(shape))).reshape(_whole(shape))
    return order.transpose(_whole(turned)) if turned else order


def _whole(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]


def by_group(collectives: list[Collective]) -> dict[tuple[str, int], tuple[int, float]]:
    """Sums operations of one kind and group size to how many run in a step and the bytes that each device sends."""
    order = sorted(collectives, key=lambda one: (KINDS.index(one.kind), len(one.group)))
    return {
        key: (sum(one.times for one in part), sum(one.wire_bytes for one in part))
        for key, members in itertools.groupby(order, lambda one: (one.kind, len(one.group)))
        for part in [list(members)]
    }
