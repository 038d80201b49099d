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

from emjax.errors import InputError
from emjax.inference.done_blocks import DoneBlocks
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import (
    check_free,
    delete_volume,
    is_half_made,
    open_created,
    volume_exists,
)

# Key of the attribute `emjax` that says which work made the volume.
IDENTITY = "identity"
CONTINUE, CREATE, REPLACE = "continue", "create", "replace"
# Seconds that other processes wait for the first one to make the output.
_PATIENCE = 600.0


def work_identity(values: Mapping[str, Any]) -> str:
    """Returns a short name of everything that decides what the blocks of an output hold."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plan_output(
    path: str | os.PathLike[str], done: DoneBlocks, *, overwrite: bool, finished: bool
) -> str:
    """Decides what happens to an output; changes nothing.

    An unfinished output of the same work goes on even with `overwrite`: a command that is repeated after an
    interruption must not delete what it did.

    Args:
        path: of the output.
        done: blocks of this work.
        overwrite: replace a finished output, or one of other work.
        finished: whether the work was finished before.

    Returns:
        CONTINUE, CREATE or REPLACE.

    Raises:
        InputError: if something is there that is not to be deleted.
    """
    try:
        begun = done.begun()
    except InputError:
        if not overwrite:
            raise
        begun = False
    if begun and not (finished and overwrite):
        if is_half_made(path):
            return REPLACE
        if done.indices() and not volume_exists(path):
            logging.warning("%s is not there any more: beginning anew", path)
        if volume_exists(path) and _made_by(path) == done.identity:
            return CONTINUE
    check_free(path, overwrite)
    return REPLACE if overwrite else CREATE


def open_output(
    path: str | os.PathLike[str], done: DoneBlocks, plan: str, create: Callable[[], ts.TensorStore]
) -> ts.TensorStore:
    """Opens an output as planned.

    Args:
        path: of the output.
        done: blocks of this work; begun when this returns.
        plan: of `plan_output`.
        create: makes the volume, with the identity of the work among its attributes.
    """
    if plan == CONTINUE:
        return open_created(path)
    # Claimed first: a process killed from here on finds its claim, and makes the volume again.
    done.begin()
    if plan == REPLACE:
        delete_volume(path)
    return create()


def await_output(path: str | os.PathLike[str], done: DoneBlocks) -> ts.TensorStore:
    """Opens the output that the first of several processes makes.

    Args:
        path: of the output.
        done: blocks of this work.

    Raises:
        InputError: if it does not come.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        if volume_exists(path) and _made_by(path) == done.identity:
            return open_created(path)
        if time.monotonic() > end:
            raise InputError(
                f"{path} was not made within {_PATIENCE:.0f} s by the first process (part 0); start that one too, with "
                "the same configuration and --workdir"
            )
        time.sleep(0.5)


def _made_by(path: str | os.PathLike[str]) -> str | None:
    return read_attributes(os.fspath(path)).get(IDENTITY)
