"""What a user can run: every module directly in this folder is a job, by its name.

A job is a module with a function `run(config, workdir)` that returns an exit status, or None for done. The first line
of its docstring says what it is for. A job that uses accelerators says `ON_DEVICES = True`: only then does the command
import jax and join the processes of a run. Installed packages add jobs as entry points of the group `emjax.jobs`:

    [project.entry-points."emjax.jobs"]
    toy = "toy_job"
"""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from types import ModuleType
from typing import Any

from emjax.config import nearest
from emjax.errors import InputError
from emjax.registry import Registry

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
