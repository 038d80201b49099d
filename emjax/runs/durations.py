"""How long runs took, beside their folders: from it a command says how long it is going to take.

`durations.jsonl` in the folder that holds run folders has a line for each command that went from its beginning to its
end without a stop. Nothing depends on it; it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from emjax.config import identity, plain

FILE = "durations.jsonl"
# Most lines that are read, the last ones.
_MOST = 200
# What decides how long a step of training takes on one machine.
_STEP = ("model", "augment", "targets", "loss")
_STEP_DATA = ("batch_size", "crop_size")


def record(
    workdir: str | os.PathLike[str], config: ConfigDict, seconds: float, voxels: float | None
) -> None:
    """Adds a line on a run that is done; does nothing where the file cannot be written.

    Args:
        workdir: run folder; of a remote one nothing is kept.
        config: configuration of the run.
        seconds: time from the command's start to its end.
        voxels: number of voxels that it went through, if it has one.
    """
    if "://" in os.fspath(workdir):
        return
    line = {
        "job": config.job,
        "seconds": round(seconds, 1),
        "same": _same(config),
        "like": _alike(config),
        "steps": config.get("num_steps"),
        "voxels": voxels,
    }
    file = _file(workdir)
    with contextlib.suppress(OSError), file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")


def estimate(workdir: str | os.PathLike[str], config: ConfigDict) -> str:
    """Returns how long a command is going to take, judged by the last runs; '' where none was like it.

    Args:
        workdir: its run folder.
        config: its configuration.
    """
    lines = [line for line in _read(workdir) if line.get("job") == config.job]
    for line in reversed(lines):
        if line.get("same") == _same(config):
            return f"about {show_seconds(line['seconds'])}, as the last time"
    steps = config.get("num_steps")
    for line in reversed(lines):
        if steps and line.get("steps") and line.get("like") == _alike(config):
            seconds = line["seconds"] * steps / line["steps"]
            took = f"{line['steps']} steps of such a network took {show_seconds(line['seconds'])}"
            return f"about {show_seconds(seconds)}: {took}"
    if lines and lines[-1].get("voxels"):
        line = lines[-1]
        return f"the last one took {show_seconds(line['seconds'])} for {line['voxels'] / 1e6:.3g} Mvoxel"
    return ""


def show_seconds(seconds: float) -> str:
    """Returns a time in the unit in which it is easily read: '40 s', '12 min', '3.5 h'."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _file(workdir: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(os.path.expanduser(os.fspath(workdir)))).parent / FILE


def _read(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the lines that can be read and say how long a run took."""
    if "://" in os.fspath(workdir):
        return []
    try:
        texts = _file(workdir).read_text().splitlines()[-_MOST:]
    except (OSError, ValueError):
        return []
    lines = []
    for text in texts:
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and isinstance(line.get("seconds"), int | float):
                lines.append(line)
    return lines


def _same(config: ConfigDict) -> str:
    return _hash({"fields": identity(config), "workers": config.get("num_workers")})


def _alike(config: ConfigDict) -> str:
    values = plain(config)
    data = values.get("data", {})
    return _hash({n: values.get(n) for n in _STEP} | {n: data.get(n) for n in _STEP_DATA})


def _hash(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
