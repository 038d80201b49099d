"""Turns a file of published weights into a run that training starts from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import jax
from ml_collections import ConfigDict

from emjax.config import plain
from emjax.data.normalization import RULE
from emjax.errors import InputError
from emjax.jobs.import_weights.report import report
from emjax.jobs.import_weights.settings import Settings
from emjax.jobs.import_weights.statistics import read_images, refit_on
from emjax.models.build import count_params
from emjax.models.published import Published, begin_rest_anew, load_published
from emjax.runs.exit_status import DONE
from emjax.runs.folder import RESULTS_FILE, open_run_folder, write_results
from emjax.runs.spec import RunSpec
from emjax.tasks.task import Params
from emjax.train.exported import is_exported, read_exported
from emjax.train.weights import write_params
from emjax.weights.arrays import Arrays
from emjax.weights.read import EXPORTED_FILE, read_arrays


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Imports weights as configured.

    Args:
        config: as made by `configs/import_weights.py`.
        workdir: run folder, which `init_from` takes.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if the file is no weights, of no known family, or does not fit the fields of the network.
    """
    settings = Settings.from_config(config)
    if is_exported(settings.source):
        if given := settings.for_others:
            raise InputError(
                f"{given} is for weights of others, and {settings.source} is an export of emjax, which is imported as "
                "it is; leave the field out"
            )
        params, spec = read_exported(settings.source)
        size = count_params(params)
        lines = [f"imported   {settings.source}: all {size:,} parameters of an export of emjax"]
        results = {"parameters": size, "parameters_imported": size}
    else:
        arrays = read_arrays(settings.source)
        published = load_published(arrays, settings.model, settings.family)
        refitted = bool(settings.refit.volumes)
        images = read_images(published, arrays, settings.refit, settings.seed) if refitted else []
        backbone = begin_rest_anew(published, jax.random.key(settings.seed))
        if refitted:
            backbone = refit_on(published, arrays, backbone, images)
        params = {"backbone": backbone}
        origin = {"source": settings.source, "sha256": _sha256(settings.source)}
        spec = RunSpec(
            job="import_weights",
            config={**plain(config), "model": plain(published.model), **origin},
            normalization=RULE,
        )
        lines, results = report(published, arrays), _results(published, arrays, params)
        if refitted:
            lines.append(f"statistics of normalizations taken of {settings.refit.volumes}")
    folder = open_run_folder(workdir, config)
    write_params(folder, params, spec)
    write_results(folder, results)
    lines.append(f"results    {Path(os.fspath(folder)) / RESULTS_FILE}")
    print("\n".join(lines), flush=True)
    return DONE


def _results(published: Published, arrays: Arrays, params: Params) -> dict[str, int]:
    return {
        "parameters": count_params(params),
        "parameters_imported": sum(int(a.size) for a in published.filled.params.values()),
        "arrays": len(arrays),
        "arrays_unused": len(published.filled.unused),
    }


def _sha256(source: str) -> str:
    path = Path(source)
    with (path / EXPORTED_FILE if path.is_dir() else path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
