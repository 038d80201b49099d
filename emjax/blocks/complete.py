"""Whether a volume that emjax makes has all its blocks: a mark among its attributes, set when the last one is done.

While it is made, its attribute `emjax` has `complete: false` and says where its blocks are marked done; then
`complete: true`. A volume without the mark counts as complete: others do not set it, nor did earlier versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from emjax.blocks.done import DoneBlocks
from emjax.errors import InputError
from emjax.geometry.grid import Grid
from emjax.volumes.address import Address
from emjax.volumes.attributes import read_attributes
from emjax.volumes.write.output import Output

COMPLETE, PROGRESS = "complete", "progress"


def incomplete(marks: Sequence[tuple[DoneBlocks, Grid]]) -> dict[str, Any]:
    """Returns the attributes of an output that is begun.

    Args:
        marks: of the passes that fill it, each with its blocks.
    """
    folders = {str(epath.Path(done.folder).absolute()): len(grid) for done, grid in marks}
    return {COMPLETE: False, PROGRESS: folders}


def mark_complete(output: Output) -> None:
    """Marks an output as complete, and gives it its name; one that is marked stays untouched, its times too."""
    attributes = output.attributes()
    # One that was made by an earlier version has no mark, and needs none.
    if attributes.get(COMPLETE, True) is False:
        attributes.pop(PROGRESS, None)
        output.set_attributes(attributes | {COMPLETE: True})
    output.finish()


def refuse_incomplete(
    address: str | Address, what: str, allow: bool = False, hint: bool = True
) -> bool:
    """Refuses a volume that is not complete: what is missing would be read as 0.

    Args:
        address: of the volume.
        what: the field that names it, for the message.
        allow: whether it is read nevertheless.
        hint: whether there is a field that allows it.

    Returns:
        Whether it is incomplete; only where that is allowed.

    Raises:
        InputError: if it is incomplete; says how many blocks are done, and how to go on.
    """
    attributes = read_attributes(address)
    if attributes.get(COMPLETE, True) is not False:
        return False
    if allow:
        return True
    progress = attributes.get(PROGRESS) or {}
    look = "; or --config.allow_incomplete=true to take it as it is" if hint else ""
    raise InputError(
        f"{what} {address} is not complete{_how_far(progress)}: what is missing would be read as 0; give the command "
        f"that makes it again, which goes on{_where(progress)}{look}"
    )


def _how_far(progress: Mapping[str, int]) -> str:
    """Says how many blocks are done, where their marks can be seen."""
    if not progress:
        return " (it was made of a volume that is not)"
    done = sum(len(DoneBlocks(folder, "").indices()) for folder in progress)
    return f" ({done} of {sum(progress.values())} blocks are done)"


def _where(progress: Mapping[str, int]) -> str:
    return f" (blocks are marked in {next(iter(progress))})" if progress else ""
