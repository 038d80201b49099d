"""Traces neurites: makes trees in SWC files of an image, a prediction or a segmentation."""

from __future__ import annotations

import functools
import os

from ml_collections import ConfigDict

from emjax.jobs.trace.objects import trace_objects
from emjax.jobs.trace.settings import Settings
from emjax.jobs.trace.stacks import trace_stack
from emjax.runs.folder import is_continued, open_run_folder


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Traces as configured, and writes the trees to the output and `results.json` to `workdir`.

    Args:
        config: as made by `configs/trace.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if the configuration or a volume cannot work, or nothing is there to trace.
    """
    settings = Settings.from_config(config)
    open_folder = functools.partial(open_run_folder, workdir, config)
    if settings.ids:
        return trace_objects(settings, is_continued(workdir, config), open_folder)
    return trace_stack(settings, open_folder)
