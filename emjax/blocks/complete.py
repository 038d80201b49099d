"""Marks a volume that emjax makes as complete: an attribute that is set when its last block is done.

While blocks are missing, the attribute `emjax` has `complete: false` and names the folders where done blocks are
marked; afterwards it has `complete: true`. A volume without the mark counts as complete: other software does not set
it, nor did earlier versions.
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
    """Returns the attributes of an output that was begun and is not complete.

    Args:
        marks: for each pass that fills the output, its marks of done blocks and its grid.
    """
    folders = {str(epath.Path(done.folder).absolute()): len(grid) for done, grid in marks}
    return {COMPLETE: False, PROGRESS: folders}


def mark_complete(output: Output) -> None:
    """Marks an output as complete and gives it its final name; one already marked is not written, so its times stay."""
    attributes = output.attributes()
    # An output of an earlier version has no mark, and needs none.
    if attributes.get(COMPLETE, True) is False:
        attributes.pop(PROGRESS, None)
        output.set_attributes(attributes | {COMPLETE: True})
    output.finish()


def refuse_incomplete(
    address: str | Address, what: str, allow: bool = False, hint: bool = True
) -> bool:
    """Refuses a volume that is not complete, since its missing blocks would be read as 0.

    Args:
        address: address of the volume.
        what: configuration field that names the volume, for the message.
        allow: whether an incomplete volume is read nevertheless.
        hint: whether the message names the field that allows it.

    Returns:
        Whether the volume is incomplete; True only where `allow` is set.

    Raises:
        InputError: if the volume is incomplete; says how many blocks are done and how to continue.
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
    """Says how many blocks are done, as far as their marks can be read."""
    if not progress:
        return " (it was made of a volume that is not)"
    done = sum(len(DoneBlocks(folder, "").indices()) for folder in progress)
    return f" ({done} of {sum(progress.values())} blocks are done)"


def _where(progress: Mapping[str, int]) -> str:
    return f" (blocks are marked in {next(iter(progress))})" if progress else ""
