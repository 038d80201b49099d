"""Traces neurites: makes trees in SWC files of an image, a prediction or a segmentation."""

from __future__ import annotations

import os

from ml_collections import ConfigDict

from emjax.jobs.trace.objects import trace_objects
from emjax.jobs.trace.settings import Settings
from emjax.jobs.trace.stacks import trace_stack


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
    return (trace_objects if settings.ids else trace_stack)(settings, config, workdir)
