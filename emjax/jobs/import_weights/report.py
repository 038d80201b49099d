"""What the import of published weights prints: which array became which parameter, and what was left over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emjax.models.published import Published
from emjax.weights.arrays import Arrays


def report(published: Published, arrays: Arrays) -> list[str]:
    """Returns lines that say what became of each array: as it was, changed, or not used.

    Args:
        published: the network that was made of the file.
        arrays: of the file.
    """
    filled, name = published.filled, published.model["name"]
    adapted = {
        path: sources
        for path, sources in filled.sources.items()
        if sum(int(np.prod(arrays.shape(n))) for n in sources) != filled.params[path].size
    }
    matched = {path: names for path, names in filled.sources.items() if path not in adapted}
    lines = [f"imported   {arrays.source}: family '{published.family}', network '{name}'"]
    for title, group in (("matched", matched), ("adapted", adapted)):
        lines.append(
            f"{title:<10} {len(group)} parameters of {sum(map(len, group.values()))} arrays"
        )
        lines += [f"  {line}" for line in _grouped(group, filled.params)]
    lines.append(f"unused     {len(filled.unused)} arrays")
    lines += [f"  {line}" for line in _counted(filled.unused)]
    if published.unexpected:
        first = ", ".join(published.unexpected[:3])
        lines.append(
            f"unexpected {len(published.unexpected)} of them, such as {first}: see that the family is right"
        )
    anew = [part for part in ("decoder", "head") if part not in published.params]
    return [*lines, f"anew       {' and '.join(anew) or 'nothing'}"]


def _grouped(sources: Mapping[str, Sequence[str]], params: Mapping[str, Any]) -> list[str]:
    """Lists parameters, those of the same kind in different layers in one line."""
    kinds: dict[str, list[str]] = {}
    for path in sources:
        kinds.setdefault(re.sub(r"\d+", "*", path), []).append(path)
    lines = []
    for kind, paths in kinds.items():
        only = paths[0] if len(paths) == 1 else f"{kind} ({len(paths)})"
        lines.append(f"{only} {params[paths[0]].shape} <- {sources[paths[0]][0]}")
    return lines


def _counted(names: Sequence[str]) -> list[str]:
    kinds = Counter(re.sub(r"\d+", "*", name) for name in names)
    return [kind if count == 1 else f"{kind} ({count})" for kind, count in kinds.items()]
