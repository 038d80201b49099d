"""Run folders of training: what was begun in one, and how several processes open one together."""

from __future__ import annotations

import os

from etils import epath
from ml_collections import ConfigDict

from emjax.errors import InputError
from emjax.parallel import runtime
from emjax.runs.folder import is_continued, locate_run_folder, open_run_folder
from emjax.runs.spec import RunSpec
from emjax.train.weights import read_last_spec


def read_begun(workdir: str | os.PathLike[str], config: ConfigDict) -> RunSpec | None:
    """Returns what the last checkpoint says of the run that a command goes on with; None if it begins one.

    Args:
        workdir: run folder, which may not exist.
        config: configuration of the command.
    """
    folder = locate_run_folder(workdir)
    return read_last_spec(folder) if is_continued(folder, config) else None


def open_training_folder(workdir: str | os.PathLike[str], config: ConfigDict) -> epath.Path:
    """Makes the run folder, or opens an existing one of the same configuration; every process must call it.

    Args:
        workdir: local folder or `gs://` address.
        config: configuration of the run.

    Returns:
        The folder, with `config.json` written by process 0.

    Raises:
        InputError: on all processes, if the folder belongs to another configuration or cannot be written.
        OSError: if the disk is full.
    """
    error = ""
    if runtime.is_main():
        try:
            open_run_folder(workdir, config)
        except InputError as refusal:
            error = str(refusal)
    folder = locate_run_folder(workdir)
    # All processes raise together, since the others would otherwise wait for process 0 forever.
    if runtime.agree(int(bool(error))):
        raise InputError(error or f"{folder} was refused by process 0")
    return folder
