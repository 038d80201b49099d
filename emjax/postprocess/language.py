"""The language of chains: `closing?radius=2; fill; size?min_size=500`, one operation after the other."""

from __future__ import annotations

from typing import Any

from emjax.config import nearest
from emjax.errors import InputError
from emjax.postprocess.filters import Closing, Median, Opening, Smoothing
from emjax.postprocess.holes import Fill
from emjax.postprocess.linking import Link
from emjax.postprocess.operation import Operation
from emjax.postprocess.sizes import Largest, SizeLimits
from emjax.segmentation.settings import parse_settings, read_settings

OPERATIONS: dict[str, type[Operation]] = {
    kind.kind: kind
    for kind in (Median, Opening, Closing, Smoothing, Fill, SizeLimits, Largest, Link)
}


def parse_operations(text: str) -> tuple[Operation, ...]:
    """Returns the operations of a chain, in its order.

    Args:
        text: entries separated by ';', each NAME?key=value&key=value.

    Raises:
        InputError: if there is none, one is unknown (names the nearest) or has an option that is unknown or out of
            range, or they are not all of labels, or all of images.
    """
    entries = [entry.strip() for entry in text.split(";") if entry.strip()]
    if not entries:
        raise InputError(
            "operations is empty; give what to do, for example operations='fill; size?min_size=500'"
        )
    operations = tuple(_parse(entry) for entry in entries)
    kinds = {operation.of: operation.kind for operation in operations}
    if len(kinds) > 1:
        raise InputError(
            f"operations: {kinds['image']} is of images and {kinds['labels']} of labels; give one chain for each, with "
            "`segment` between"
        )
    return operations


def _parse(entry: str) -> Operation:
    name, _, query = (part.strip() for part in entry.partition("?"))
    if name not in OPERATIONS:
        raise InputError(f"operations: '{name}' is unknown{nearest(name, OPERATIONS)}")
    kind: Any = OPERATIONS[name]
    return read_settings(kind, name, parse_settings(query))
