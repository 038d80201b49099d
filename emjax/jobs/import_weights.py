"""Turns a file of published weights into a run that training starts from."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from emjax.config import plain
from emjax.data.normalization import RULE
from emjax.errors import InputError
from emjax.models.build import count_params
from emjax.models.published import Published, begin_rest_anew, load_published
from emjax.runs.folder import RESULTS_FILE, open_run_folder, write_results
from emjax.runs.spec import RunSpec
from emjax.train.exported import is_exported, read_exported
from emjax.train.weights import write_params
from emjax.weights.arrays import Arrays
from emjax.weights.read import EXPORTED_FILE, read_arrays

# What a configuration says where it says nothing, which is what every network that has such a field does by itself.
_UNSAID = {
    **{"slices": 1, "stem_fill": "average", "stem_scale": "none"},
    **{"kernel_depth": 1, "kernel_fill": "center"},
    **{"decoder_widths": [], "decoder_kernel": [1, 3, 3]},
    **{"section_stride": 1, "attend": "section"},
}


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
    if not config.source:
        raise InputError("source is empty; give --config.source=FILE")
    if is_exported(config.source):
        return _import_own(config, workdir)
    arrays = read_arrays(config.source)
    published = load_published(arrays, _fields(config), config.family)
    params = begin_rest_anew(published, jax.random.key(config.seed))
    folder = open_run_folder(workdir, config)
    spec = RunSpec(
        job="import_weights",
        config={**plain(config), "model": plain(published.model), "sha256": _sha256(config.source)},
        normalization=RULE,
    )
    write_params(folder, {"backbone": params}, spec)
    used, size = published.filled.params, count_params(params)
    results = {
        "parameters": size,
        "parameters_imported": sum(int(array.size) for array in used.values()),
        "arrays": len(arrays),
        "arrays_unused": len(published.filled.unused),
    }
    write_results(folder, results)
    lines = [*_report(published, arrays), f"results    {Path(os.fspath(folder)) / RESULTS_FILE}"]
    print("\n".join(lines), flush=True)
    return 0


def _import_own(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Imports what emjax exported: all of it, as it was."""
    params, spec = read_exported(config.source)
    folder = open_run_folder(workdir, config)
    write_params(folder, params, spec)
    size = count_params(params)
    write_results(folder, {"parameters": size, "parameters_imported": size})
    print(f"imported   {config.source}: all {size:,} parameters of an export of emjax", flush=True)
    return 0


def _fields(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields of the network that were given: not every network has all of them."""
    given = plain(config.model)
    return {name: value for name, value in given.items() if _UNSAID.get(name) != value}


def _report(published: Published, arrays: Arrays) -> list[str]:
    """Says what became of each array: as it was, changed, or not used."""
    filled, name = published.filled, published.model["name"]
    adapted = {
        path: sources
        for path, sources in filled.sources.items()
        if sum(int(np.prod(arrays.shape(n))) for n in sources) != filled.params[path].size
    }
    matched = {path: names for path, names in filled.sources.items() if path not in adapted}
    lines = [f"imported   {arrays.source}: family '{published.family}', network '{name}'"]
    for title, group in (("matched", matched), ("adapted", adapted)):
        lines.append(
            f"{title:<10} {len(group)} parameters of {sum(map(len, group.values()))} arrays"
        )
        lines += [f"  {line}" for line in _grouped(group, filled.params)]
    lines.append(f"unused     {len(filled.unused)} arrays")
    lines += [f"  {line}" for line in _counted(filled.unused)]
    if published.unexpected:
        first = ", ".join(published.unexpected[:3])
        lines.append(
            f"unexpected {len(published.unexpected)} of them, such as {first}: see that the family is right"
        )
    anew = [part for part in ("decoder", "head") if part not in published.params]
    return [*lines, f"anew       {' and '.join(anew) or 'nothing'}"]


def _grouped(sources: Mapping[str, Sequence[str]], params: Mapping[str, Any]) -> list[str]:
    """Lists parameters, those of the same kind in different layers in one line."""
    kinds: dict[str, list[str]] = {}
    for path in sources:
        kinds.setdefault(re.sub(r"\d+", "*", path), []).append(path)
    lines = []
    for kind, paths in kinds.items():
        only = paths[0] if len(paths) == 1 else f"{kind} ({len(paths)})"
        lines.append(f"{only} {params[paths[0]].shape} <- {sources[paths[0]][0]}")
    return lines


def _counted(names: Sequence[str]) -> list[str]:
    kinds = Counter(re.sub(r"\d+", "*", name) for name in names)
    return [kind if count == 1 else f"{kind} ({count})" for kind, count in kinds.items()]


def _sha256(source: str) -> str:
    path = Path(source)
    with (path / EXPORTED_FILE if path.is_dir() else path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
