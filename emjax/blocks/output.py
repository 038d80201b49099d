"""Decides whether the output of a job on blocks is created, continued or replaced, and opens it."""

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
from emjax.volumes.address import Address, local_path
from emjax.volumes.write.output import Output
from emjax.volumes.write.zarr import ZarrOutput

# Key within the attribute `emjax` under which a volume stores the identity of the work that made it.
IDENTITY = "identity"
CONTINUE, CREATE, REPLACE = "continue", "create", "replace"
# Seconds that the other processes wait for the first one to make the output.
_PATIENCE = 600.0


def work_identity(values: Mapping[str, Any]) -> str:
    """Returns a hash of everything that decides what the blocks of an output hold, as 16 hexadecimal digits."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_apart(output: str, inputs: Mapping[str, str | Address]) -> None:
    """Checks that an output neither lies in an input nor contains one, since overwriting it would delete the input.

    Args:
        output: path of the output.
        inputs: configuration field -> address of an input, or path of another file or folder that is read; '' is
            left out.

    Raises:
        InputError: if one contains the other, by whatever names and links.
    """
    one = _real(output)
    for name, address in inputs.items():
        if not address:
            continue
        other = _real(Address.parse(address).path if isinstance(address, str) else address.path)
        same = os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
        if same or f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
            raise InputError(
                f"output={output} and {name}={address} are in one place; give another output"
            )


def _real(path: str) -> str:
    """Returns the real path of a local file or folder; a URL as it is."""
    return path.rstrip("/") if "://" in path else os.path.realpath(local_path(path))


def plan_output(
    path: str | os.PathLike[str] | Output,
    done: DoneBlocks,
    *,
    overwrite: bool,
    finished: bool,
    changes: str = "",
) -> str:
    """Decides whether an output is continued, created or replaced; changes nothing.

    An unfinished output of the same work is continued even with `overwrite`: a command that is repeated after an
    interruption must not delete what it has done.

    Args:
        path: path of an OME-Zarr output, or an output of any format.
        done: marks of the done blocks of this work.
        overwrite: whether to replace a finished output, or one of other work.
        finished: whether this work was finished before.
        changes: what differs from the configuration that the folder of the blocks was made for, for the message.

    Returns:
        CONTINUE, CREATE or REPLACE.

    Raises:
        InputError: if something exists there that may not be deleted.
    """
    output = _as_output(path)
    try:
        begun = done.begun()
    except InputError as error:
        if not overwrite:
            if not changes:
                raise
            raise InputError(
                f"{done.folder} holds blocks of another configuration ({changes}); give another --workdir and output "
                "(where no --workdir was given, another output is enough), or --config.overwrite=true to begin anew"
            ) from error
        begun = False
    if begun and not (finished and overwrite):
        if output.is_half_made():
            return REPLACE
        if done.indices() and not output.exists():
            logging.warning("%s is not there any more: beginning anew", output.path)
        if _made_by(output, done):
            return REPLACE if _is_left_over(output, done) else CONTINUE
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
        path: path of an OME-Zarr output, or an output of any format.
        done: marks of the done blocks of this work; begun when this returns.
        plan: what `plan_output` returned.
        create: makes the volume, with the identity of the work among its attributes.
    """
    output = _as_output(path)
    if plan == CONTINUE:
        return output.open()
    # The claim comes first: if the process is killed after it, the next run finds the claim and makes the volume again.
    done.begin()
    if plan == REPLACE:
        output.delete()
    create()
    return output.open()


def await_output(
    path: str | os.PathLike[str], done: DoneBlocks, ready: Callable[[], bool] = lambda: True
) -> ts.TensorStore:
    """Waits for and opens the output that the first of several processes makes.

    Args:
        path: path of the output, or the output.
        done: marks of the done blocks of this work.
        ready: says whether an existing output can be the new one, and not one that is about to be replaced.

    Raises:
        InputError: if the output is not made in time.
    """
    output = _as_output(path)
    end = time.monotonic() + _PATIENCE
    while True:
        if ready() and _made_by(output, done) and not _is_left_over(output, done):
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


def _is_left_over(output: Output, done: DoneBlocks) -> bool:
    """Whether it is complete although no block is done: a run is about to delete it, or was killed before it did."""
    return bool(output.attributes().get(COMPLETE)) and not done.indices()
