"""Opens the run folder of a training run of several processes: process 0 does it, and all learn whether it worked."""

from __future__ import annotations

import os

from etils import epath
from ml_collections import ConfigDict

from emjax.errors import InputError
from emjax.parallel import runtime
from emjax.runs.folder import locate_run_folder, open_run_folder


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
