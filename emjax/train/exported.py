"""Weights as one file that other libraries read: `model.safetensors`, with what they are in its header."""

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

# In the header of the file.
_SPEC = "emjax"


def write_exported(folder: Path, params: Params, spec: RunSpec) -> Path:
    """Writes weights as one file.

    Args:
        folder: that it is written to.
        params: nested dicts of arrays.
        spec: what they are.

    Returns:
        The file, in which an array is called by its path, names joined by '/'.
    """
    header = {_SPEC: json.dumps(spec.to_json())}
    data = safetensors.numpy.save(_flat(params), metadata=header)
    path = folder / EXPORTED_FILE
    write_whole(path, data)
    return path


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a file or folder is what `write_exported` writes."""
    file = Path(path) / EXPORTED_FILE if Path(path).is_dir() else Path(path)
    if file.suffix != ".safetensors" or not file.is_file():
        return False
    return _SPEC in read_metadata(file)


def read_exported(path: str | os.PathLike[str]) -> tuple[Params, RunSpec]:
    """Reads what `write_exported` wrote, bit for bit.

    Args:
        path: the file, or its folder.

    Raises:
        InputError: if it is none, or damaged.
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
