"""Writes a trained network as model.safetensors, with a page that says what it is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ml_collections import ConfigDict

from emjax.blocks.lock import OutputLock
from emjax.errors import InputError
from emjax.jobs.export_weights.page import is_page, write_page
from emjax.jobs.export_weights.settings import Settings
from emjax.models.build import count_params
from emjax.runs.exit_status import DONE
from emjax.runs.folder import open_run_folder, write_results
from emjax.runs.whole_file import write_whole
from emjax.train.exported import write_exported
from emjax.train.weights import restore_params
from emjax.weights.read import EXPORTED_FILE

PAGE = "README.md"


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Exports weights as configured.

    Args:
        config: as made by `configs/export_weights.py`.
        workdir: run folder of this job.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if there is no checkpoint, or `output` is there already.
    """
    settings = Settings.from_config(config)
    output = Path(settings.output).absolute()
    if any((output / name).exists() for name in (EXPORTED_FILE, PAGE)) and not settings.overwrite:
        raise InputError(
            f"output {output} holds an export; set --config.overwrite=true to replace it"
        )
    if (output / PAGE).exists() and not is_page((output / PAGE).read_text(errors="replace")):
        raise InputError(
            f"output {output} holds a {PAGE} that emjax did not write; give another folder"
        )
    weights = restore_params(settings.checkpoint)
    with OutputLock(output, "export_weights"):
        folder = open_run_folder(workdir, config)
        path = write_exported(output, weights.params, weights.spec)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        title = settings.name or output.name
        page = write_page(title, output.name, settings.licence, weights, digest)
        write_whole(output / PAGE, page.encode())
    write_results(
        folder, {"parameters": count_params(weights.params), "bytes": path.stat().st_size}
    )
    print(f"exported   {weights.source}\n           {path}\n           sha256 {digest}", flush=True)
    return DONE
