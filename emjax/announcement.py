"""The first lines of a command: what it is going to do, with what, where the result will be, and how long it takes.

They come before the imports that take seconds, so that nobody wonders whether anything happens.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from emjax.config import plain
from emjax.jobs import describe_jobs
from emjax.runs.default_folder import TAKEN_OVER, is_in_use
from emjax.runs.durations import estimate, record
from emjax.runs.folder import RESULTS_FILE, read_results

# What a job reads, dotted name -> how it is called; those that are there and not empty are shown.
_READS = {
    "data.volumes": "volumes",
    "init_from": "starts from",
    "checkpoint": "network",
    "source": "source",
    "input": "input",
    "settings": "settings",
    "segmentation": "segmentation",
    "labels": "labels",
    "volumes": "volumes",
}
# Set by a process that restarts itself, so that its first lines come once.
_SAID = "EMJAX_ANNOUNCED"
_LONGEST = 100


def announce(config: ConfigDict, workdir: str) -> float:
    """Prints the first lines, once for a process and the one that it restarts as; returns when the command began.

    Args:
        config: configuration of the command.
        workdir: its run folder.

    Returns:
        Time of the start, in seconds since the epoch.
    """
    mark, _, began = os.environ.pop(_SAID, "").partition(" ")
    if mark == str(os.getpid()):
        return float(began)
    now = time.time()
    os.environ[_SAID] = f"{os.getpid()} {now}"
    print("\n".join(describe_start(config, workdir)), flush=True)
    return now


@contextlib.contextmanager
def remembered(config: ConfigDict, workdir: str, began: float) -> Iterator[None]:
    """Keeps how long a run took that is done within the context and was not begun before, for the next `announce`.

    Args:
        config: configuration of the command.
        workdir: its run folder.
        began: as `announce` returned it; 0: nothing is kept.
    """
    # A page that was open for hours says nothing about the next one.
    kept = began and config.job not in TAKEN_OVER and not is_in_use(workdir)
    yield
    if kept and (Path(workdir) / RESULTS_FILE).exists():
        record(workdir, config, time.time() - began, read_results(workdir).get("voxels"))


def describe_start(config: ConfigDict, workdir: str) -> list[str]:
    """Returns the lines that say what a command is going to do.

    Args:
        config: configuration of the command.
        workdir: its run folder.
    """
    values = plain(config)
    about = describe_jobs().get(config.job, "")
    lines = [f"{config.job:<12} {about[:1].lower() + about[1:]}".rstrip()]
    if "num_steps" in values:
        data = values.get("data", {})
        size = "x".join(map(str, data.get("crop_size", ())))
        lines.append(
            _line(
                "steps", f"{values['num_steps']} of {data.get('batch_size')} crops of {size} voxels"
            )
        )
    for name, title in _READS.items():
        value = _look_up(values, name)
        if value:
            lines.append(_line(title, _short(str(value))))
    output = values.get("output") or values.get("png")
    lines.append(_line("writes", f"{output}, and {workdir}" if output else workdir))
    long = estimate(workdir, config)
    # Without a run to compare with, the first steps or blocks tell.
    lines.append(
        _line("takes", long or "not known yet; the time left is shown as soon as work goes on")
    )
    return lines


def _line(title: str, text: str) -> str:
    return f"{title:<12} {text}"


def _look_up(values: Mapping[str, Any], name: str) -> Any:
    found: Any = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:60]}...{text[-37:]}"
