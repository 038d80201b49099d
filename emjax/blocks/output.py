"""The output of a job on blocks: made, gone on with, or replaced."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorstore as ts
from absl import logging

from emjax.blocks.complete import COMPLETE
from emjax.blocks.done import DoneBlocks
from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.write.output import Output
from emjax.volumes.write.zarr import ZarrOutput

# Key of the attribute `emjax` that says which work made the volume.
IDENTITY = "identity"
CONTINUE, CREATE, REPLACE = "continue", "create", "replace"
# Seconds that other processes wait for the first one to make the output.
_PATIENCE = 600.0


def work_identity(values: Mapping[str, Any]) -> str:
    """Returns a short name of everything that decides what the blocks of an output hold."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_apart(output: str, address: Address) -> None:
    """Checks that an output neither lies in an input nor holds it: overwriting it would delete what is read.

    Args:
        output: path of the output.
        address: of the input.

    Raises:
        InputError: if it does.
    """
    one, other = Address(output).source, Address(address.path).source
    if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
        raise InputError(
            f"output={output} and input={address} are in one place; give another output"
        )


def plan_output(
    path: str | os.PathLike[str] | Output, done: DoneBlocks, *, overwrite: bool, finished: bool
) -> str:
    """Decides what happens to an output; changes nothing.

    An unfinished output of the same work goes on even with `overwrite`: a command that is repeated after an
    interruption must not delete what it did.

    Args:
        path: of the output, OME-Zarr; or an output of any format.
        done: blocks of this work.
        overwrite: replace a finished output, or one of other work.
        finished: whether the work was finished before.

    Returns:
        CONTINUE, CREATE or REPLACE.

    Raises:
        InputError: if something is there that is not to be deleted.
    """
    output = _as_output(path)
    try:
        begun = done.begun()
    except InputError:
        if not overwrite:
            raise
        begun = False
    if begun and not (finished and overwrite):
        if output.is_half_made():
            return REPLACE
        if done.indices() and not output.exists():
            logging.warning("%s is not there any more: beginning anew", output.path)
        if _made_by(output, done):
            # A volume that is marked complete, of whose blocks none is done: killed before it was deleted.
            old = output.attributes().get(COMPLETE) and not done.indices()
            return REPLACE if old else CONTINUE
    output.check_free(overwrite)
    return REPLACE if overwrite else CREATE


def open_output(
    path: str | os.PathLike[str] | Output,
    done: DoneBlocks,
    plan: str,
    create: Callable[[], object],
) -> ts.TensorStore:
    """Opens an output as planned.

    Args:
        path: of the output, OME-Zarr; or an output of any format.
        done: blocks of this work; begun when this returns.
        plan: of `plan_output`.
        create: makes the volume, with the identity of the work among its attributes.
    """
    output = _as_output(path)
    if plan == CONTINUE:
        return output.open()
    # Claimed first: a process killed from here on finds its claim, and makes the volume again.
    done.begin()
    if plan == REPLACE:
        output.delete()
    create()
    return output.open()


def await_output(
    path: str | os.PathLike[str], done: DoneBlocks, ready: Callable[[], bool] = lambda: True
) -> ts.TensorStore:
    """Opens the output that the first of several processes makes.

    Args:
        path: of the output.
        done: blocks of this work.
        ready: whether what is there can be the one that is meant, and not one that is about to be replaced.

    Raises:
        InputError: if it does not come.
    """
    output = _as_output(path)
    end = time.monotonic() + _PATIENCE
    while True:
        if ready() and _made_by(output, done):
            return output.open()
        if time.monotonic() > end:
            raise InputError(
                f"{path} was not made within {_PATIENCE:.0f} s by the first process (part 0); start that one too, with "
                "the same configuration and --workdir"
            )
        time.sleep(0.5)


def _as_output(path: str | os.PathLike[str] | Output) -> Output:
    return ZarrOutput.of(path) if isinstance(path, str | os.PathLike) else path


def _made_by(output: Output, done: DoneBlocks) -> bool:
    return output.exists() and output.attributes().get(IDENTITY) == done.identity
