"""What a user can run: every module directly in this folder is a job, by its name.

A job is a module with a function `run(config, workdir)` that returns an exit status, or None for done. The first line
of its docstring says what it is for. A job that uses accelerators says `ON_DEVICES = True`: only then does the command
import jax and join the processes of a run. `run_job` lets one run at a time work in a folder; a job whose processes
share a folder by parts says `LOCKS_FOLDER = True`, and locks it itself. A job of `TAKEN_OVER` needs no lock.

Installed packages add jobs as entry points of the group `emjax.jobs`:

    [project.entry-points."emjax.jobs"]
    toy = "toy_job"
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import pkgutil
from types import ModuleType
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from emjax.blocks.lock import FolderLock
from emjax.config import nearest
from emjax.errors import InputError
from emjax.registry import Registry
from emjax.runs.default_folder import TAKEN_OVER, Chosen, choose_folder, folder_path
from emjax.runs.exit_status import DONE

JOBS = Registry(
    "job",
    "emjax.jobs",
    {module.name: f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)},
)


def find_job(name: str) -> ModuleType:
    """Imports a job.

    Args:
        name: of a module of this folder, or of an entry point.

    Raises:
        InputError: if there is no such job, naming the nearest and all others; or if it cannot be run.
    """
    if name not in JOBS:
        raise InputError(f"config.job='{name}' is not a job{nearest(name, JOBS)}")
    job = JOBS.find(name)
    if not callable(getattr(job, "run", None)):
        raise InputError(f"job '{name}': {JOBS.place(name)} has no function run(config, workdir)")
    return job


def run_job(job: ModuleType, config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Runs a job while no other run works in its folder.

    Args:
        job: the job, as `find_job` returns it.
        config: configuration of the job.
        workdir: work folder; made if it does not exist.

    Returns:
        Exit status of the job.

    Raises:
        InputError: if another run works in the folder, or as raised by the job.
    """
    with contextlib.ExitStack() as held:
        if not (getattr(job, "LOCKS_FOLDER", False) or config.job in TAKEN_OVER):
            lock = FolderLock(workdir, config.job)
            if getattr(job, "ON_DEVICES", False):
                _lock_together(lock, held)
            else:
                held.enter_context(lock)
        return job.run(config, workdir) or DONE


def default_workdir(job: ModuleType, config: ConfigDict) -> str:
    """Returns the work folder of a command that names none, and says so if it is not the plain one.

    Every process of a run calls it, and gets what process 0 finds.

    Args:
        job: the job, as `find_job` returns it.
        config: configuration of the job.
    """
    if config.job in TAKEN_OVER:
        return folder_path(config)

    def is_held(path: str) -> bool:
        return FolderLock(path, config.job).is_held()

    if not getattr(job, "ON_DEVICES", False):
        chosen = choose_folder(config, is_held)
    else:
        # Imported only here, as importing jax takes seconds.
        from emjax.parallel import runtime

        alone = runtime.is_alone()
        chosen = choose_folder(config, is_held) if alone or runtime.is_main() else Chosen(1, "")
        if not alone:
            chosen = chosen._replace(number=runtime.agree(chosen.number))
    if chosen.remark:
        logging.info("%s", chosen.remark)
    return folder_path(config, chosen.number)


def _lock_together(lock: FolderLock, held: contextlib.ExitStack) -> None:
    """Takes the lock in process 0 of a run; all processes raise together if it is refused."""
    # Imported only here, as importing jax takes seconds.
    from emjax.parallel import runtime

    if runtime.is_alone():
        held.enter_context(lock)
        return
    refusal = ""
    if runtime.is_main():
        try:
            held.enter_context(lock)
        except InputError as error:
            refusal = str(error)
    if runtime.agree(int(bool(refusal))):
        raise InputError(refusal or "process 0 could not lock the work folder")


def describe_jobs() -> dict[str, str]:
    """Returns name -> first line of a job's docstring, '' where there is no source; imports none of them."""
    return {name: _first_line(JOBS.place(name)) for name in sorted(JOBS)}


def _first_line(place: str) -> str:
    try:
        spec = importlib.util.find_spec(place.partition(":")[0])
        # Loaders of source files have `get_source`; others are answered by an AttributeError.
        loader: Any = spec.loader if spec else None
        source = loader.get_source(spec.name) if spec and loader else None
    # Of an installed package that is damaged: a list of jobs must not fail because of it.
    except (ImportError, AttributeError, OSError, ValueError):
        return ""
    text = ast.get_docstring(ast.parse(source)) if source else None
    return (text or "").split("\n")[0].rstrip(".")
