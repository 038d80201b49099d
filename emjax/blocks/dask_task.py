"""The task that a dask worker runs for each block."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import pickle
import platform
import socket
import traceback
from typing import NamedTuple

import distributed
from etils import epath

from emjax.blocks.engines import Outcome, Work, describe, try_block
from emjax.geometry.grid import Block

# Packages whose versions must be equal on client and workers, since pickles pass between them.
_PACKAGES = ("emjax", "distributed", "tensorstore")


class Task(NamedTuple):
    """A block and what a worker needs to work on it; picklable, since it is sent to the worker.

    Attributes:
        work: the pickled work; each process unpickles it once.
        block: the block to work on.
        token: path of a file that exists as long as the run goes on.
        folder: the client's working folder, which relative addresses start from.
        versions: package name -> version on the client.
    """

    work: bytes
    block: Block
    token: str
    folder: str
    versions: dict[str, str]


class Call:
    """A task that is run by being unpickled: unpickling returns its `Outcome`."""

    def __init__(self, task: Task) -> None:
        """Stores the task."""
        self._task = task

    def __reduce__(self) -> tuple:
        """Makes unpickling call `run` with the task."""
        return (run, (self._task,))


def run(task: Task) -> Outcome:
    """Works on the task's block if the run still goes on, and returns the outcome."""
    worker = distributed.get_worker()
    place = f"{worker.address} ({socket.gethostname()})"
    ours = versions()
    if ours != task.versions:
        wrong = [name for name in ours if ours[name] != task.versions.get(name)]
        text = ", ".join(f"{name} {ours[name]} instead of {task.versions[name]}" for name in wrong)
        return Outcome(
            error=f"worker {place} has {text}: workers need the versions of the command that uses them",
            wrong_input=True,
        )
    if not epath.Path(task.token).exists():
        return Outcome(not_begun=True, place=place)
    try:
        # A worker may have been started in any folder; relative addresses start from the client's.
        if os.getcwd() != task.folder:
            os.chdir(task.folder)
        work = _load(task.work)
    except Exception as error:  # noqa: BLE001  (whatever is wrong is wrong for all blocks)
        return Outcome(
            error=f"worker {place} cannot begin: {describe(error)}",
            wrong_input=True,
            trace=traceback.format_exc(),
        )
    return dataclasses.replace(try_block(work, task.block), place=place)


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions that must be equal on client and workers: package name -> version."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


@functools.lru_cache(maxsize=4)
def _load(work: bytes) -> Work:
    """Unpickles the work once in each process, so that files it has opened stay open."""
    return pickle.loads(work)
