"""Axes of arrays by their names: brought into the order z, y, x with channels first, or refused if not understood."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorstore as ts

from emjax.errors import InputError

# Names of axes in lower case, and the axis that each means.
_SYNONYMS = {
    **dict.fromkeys(
        ("z", "depth", "plane", "planes", "section", "sections", "slice", "slices"), "z"
    ),
    **dict.fromkeys(("y", "row", "rows", "height"), "y"),
    **dict.fromkeys(("x", "col", "cols", "column", "columns", "width"), "x"),
    # funlib marks axes that are not spatial by a ^.
    **dict.fromkeys(("c", "c^", "channel", "channels", "ch"), "c"),
    **dict.fromkeys(("t", "time", "times", "frame", "frames"), "t"),
}
# Placeholders that programs write for axes that nobody named.
_PLACEHOLDER = re.compile(r"^(phony_|array_)?(dim|dimension|axis|ax|d)?[ _]?\d+$")
# Attributes that name the axes of an array, in the order in which they are looked for.
_ATTRIBUTES = ("_ARRAY_DIMENSIONS", "axis_names", "axes", "axis_labels", "DIMENSION_LABELS")

Names = tuple[str | None, ...]


def axis_names(names: Sequence[object], rank: int) -> Names:
    """Returns the names of axes as emjax writes them.

    Args:
        names: as the file has them, upper or lower case, letters or words; empty or None for an axis without a name.
        rank: of the array; a list of names with another length counts as no names.

    Returns:
        A lower-case name for each axis, with `z`, `y`, `x`, `c` and `t` for all their synonyms; all None where the axes
        are not named, or named only by placeholders such as dim_0.
    """
    found = []
    for name in names:
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
        text = text.strip().lower()
        found.append(_SYNONYMS.get(text, text) or None)
    unnamed = all(name is None or _PLACEHOLDER.match(name) for name in found)
    return (None,) * rank if unnamed or len(found) != rank else tuple(found)


def attribute_names(attributes: Mapping[str, Any], rank: int) -> Names:
    """Reads the names of axes from the attributes of an array, as xarray, funlib, ilastik and others write them.

    Args:
        attributes: of the array.
        rank: of the array.

    Returns:
        Names as `axis_names` returns them; all None where no attribute names the axes.
    """
    named = _axistags(attributes.get("axistags"))
    candidates = [named] if named else []
    candidates += [attributes[key] for key in _ATTRIBUTES if key in attributes]
    for value in candidates:
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str):
            # One letter for each axis, or names separated by commas.
            value = [part for part in re.split(r"[,\s]+", value) if part] if "," in value else value
        if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
            continue
        parts = [part.get("name") if isinstance(part, Mapping) else part for part in value]
        names = axis_names(parts, rank)
        if any(names):
            return names
    return (None,) * rank


def arrange(
    store: ts.TensorStore, names: Names, where: str, time: int | None = None
) -> ts.TensorStore:
    """Transposes an array to z, y, x or c, z, y, x, and drops other axes of length 1.

    Args:
        store: an array with axes in any order.
        names: of its axes, as `axis_names` returns them; unnamed axes are taken as ..., c, z, y, x.
        where: names the array, for error messages.
        time: the one to take of an array with several; None where the address gives none.

    Raises:
        InputError: if an axis is missing, there are several times and none was chosen, or one was chosen that is not
            there, or two axes besides z, y, x are longer than 1.
    """
    kept = kept_axes(store.shape, names, where, time)
    dropped = [axis for axis in range(store.rank) if axis not in kept]
    for axis in reversed(dropped):
        first = store.domain.inclusive_min[axis] + (time or 0 if names[axis] == "t" else 0)
        store = store[(slice(None),) * axis + (first,)]
    order = [axis - sum(other < axis for other in dropped) for axis in kept]
    return store if order == sorted(order) else store[ts.d[order].transpose[:]]


def kept_axes(shape: Sequence[int], names: Names, where: str, time: int | None = None) -> list[int]:
    """Returns the indices of the axes that are kept, in the order c (if there is one), z, y, x.

    Args:
        shape: of the array.
        names: of its axes.
        where: names the array, for error messages.
        time: as for `arrange`.

    Raises:
        InputError: as `arrange`.
    """
    axes = list(range(len(shape)))
    if time is not None:
        _check_time(shape, names, where, time)
    if not any(names):
        while len(axes) > 3 and shape[axes[0]] == 1:
            axes.pop(0)
        if len(axes) not in (3, 4):
            raise InputError(
                f"{where} has axes of {tuple(shape)}; a volume needs z, y, x or c, z, y, x"
            )
        if len(axes) == 4 and shape[-1] == 1:
            # Taken as x, this axis would turn every section into a channel.
            raise InputError(
                f"{where} has axes of {tuple(shape)} without names, and the last is no x; a volume needs z, y, x or "
                "c, z, y, x: name its axes, or drop the last"
            )
        return axes
    listed = ", ".join(f"{name or '?'} of {n}" for name, n in zip(names, shape, strict=True))
    if any(names.count(axis) != 1 for axis in "zyx"):
        raise InputError(f"{where} has the axes {listed}; a volume needs z, y and x, each once")
    others = [axis for axis in axes if names[axis] not in tuple("zyx") and shape[axis] != 1]
    times = [axis for axis in others if names[axis] == "t"]
    if times and time is None:
        last = shape[times[0]] - 1
        raise InputError(
            f"{where} has the axes {listed}; emjax reads one time: add ?t=0, up to {last}"
        )
    others = [axis for axis in others if axis not in times]
    if len(others) > 1:
        raise InputError(f"{where} has the axes {listed}; a volume needs z, y, x or c, z, y, x")
    return others + [names.index(axis) for axis in "zyx"]


def _check_time(shape: Sequence[int], names: Names, where: str, time: int) -> None:
    count = shape[names.index("t")] if "t" in names else 0
    if not count:
        raise InputError(f"{where} has no axis of times; leave out t={time}")
    if time >= count:
        raise InputError(f"{where} has the times 0 to {count - 1}, not t={time}")


def _axistags(value: object) -> list[str]:
    """Reads the names from vigra's axistags, JSON that ilastik writes."""
    if not isinstance(value, str | bytes):
        return []
    try:
        axes = json.loads(value)["axes"]
        return [axis["key"] for axis in axes]
    except (ValueError, LookupError, TypeError):
        return []
