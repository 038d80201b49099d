"""Weights as one file for other libraries: `model.safetensors`, with the `RunSpec` in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from emjax.errors import InputError
from emjax.runs.spec import RunSpec
from emjax.runs.whole_file import write_whole
from emjax.tasks.task import Params
from emjax.weights.read import EXPORTED_FILE, read_arrays
from emjax.weights.safetensors_file import read_metadata

# Key of the RunSpec in the header of the file.
_SPEC = "emjax"


def write_exported(folder: Path, params: Params, spec: RunSpec) -> Path:
    """Writes weights as one file.

    Args:
        folder: folder that the file is written to.
        params: nested dicts of arrays.
        spec: description of the weights.

    Returns:
        Path of the file, in which the name of an array is its path in the nested dicts, joined by '/'.
    """
    header = {_SPEC: json.dumps(spec.to_json())}
    data = safetensors.numpy.save(_flat(params), metadata=header)
    path = folder / EXPORTED_FILE
    write_whole(path, data)
    return path


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a file, or the file in a folder, was written by `write_exported`."""
    file = Path(path) / EXPORTED_FILE if Path(path).is_dir() else Path(path)
    if file.suffix != ".safetensors" or not file.is_file():
        return False
    return _SPEC in read_metadata(file)


def read_exported(path: str | os.PathLike[str]) -> tuple[Params, RunSpec]:
    """Reads the weights and the description that `write_exported` wrote; arrays are equal bit for bit.

    Args:
        path: path of the file, or of its folder.

    Raises:
        InputError: if it is no such file, or damaged.
    """
    arrays = read_arrays(path)
    header = read_metadata(arrays.source).get(_SPEC)
    if header is None:
        raise InputError(
            f"{arrays.source} was not exported by emjax; import it first: --config configs/import_weights.py "
            f"--config.source={arrays.source}"
        )
    try:
        spec = RunSpec.from_json(json.loads(header))
    except json.JSONDecodeError as error:
        raise InputError(f"{arrays.source}: its header is damaged; export it again") from error
    tree: dict[str, Any] = {}
    for name in arrays:
        *parents, last = name.split("/")
        at = tree
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = arrays[name]
    return tree, spec


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = np.ascontiguousarray(value)
    return flat
