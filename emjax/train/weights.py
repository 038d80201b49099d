"""Reads only the weights of a run: from a run folder, a step folder, a folder of parameters or an export."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from emjax.errors import InputError, reason
from emjax.runs.spec import RunSpec
from emjax.tasks.task import Params
from emjax.train.checkpoint import BEST_FILE, CHECKPOINT_FOLDER
from emjax.train.exported import is_exported, read_exported

# Items of a checkpoint that hold weights, in order of preference.
_ITEMS = ("ema", "params")


@dataclasses.dataclass(frozen=True)
class Weights:
    """Parameters of a checkpoint.

    Attributes:
        params: nested dicts of numpy arrays.
        spec: description of the parameters.
        source: folder or file that they were read from.
    """

    params: Params
    spec: RunSpec
    source: str


def restore_params(path: str | os.PathLike[str]) -> Weights:
    """Reads the weights of a checkpoint; no optimizer, task or mesh is needed.

    In a run folder, the best step is read if one is named, else the last step that can be read; in a
    step, the moving average if there is one. What is read is logged.

    Args:
        path: run folder, `checkpoints/<step>`, or `checkpoints/<step>/params` (or `/ema`); or the folder or file that
            `configs/export_weights.py` wrote.

    Raises:
        InputError: if there is no checkpoint, or it cannot be read.
    """
    folder = epath.Path(path)
    if "://" not in os.fspath(path):
        # Orbax reads only absolute paths.
        folder = epath.Path(os.path.abspath(os.path.expanduser(path)))
    if not folder.exists():
        raise InputError(
            f"no such checkpoint: {folder}; give a run folder, a step or a params folder"
        )
    if not folder.is_dir() and not is_exported(folder):
        raise InputError(
            f"{folder} is a file, and no weights that emjax wrote; give a run folder or a step"
        )
    if is_exported(folder):
        params, spec = read_exported(folder)
        logging.info("weights: %s", folder)
        return Weights(params=params, spec=spec, source=os.fspath(folder))
    if folder.name in _ITEMS and (folder.parent / "config").exists():
        return _read(folder)
    steps = _step_folders(folder)
    if not steps:
        raise InputError(
            f"{folder} holds no checkpoint; give a run folder (with {CHECKPOINT_FOLDER}/), one of "
            "its steps, or the params folder of a step"
        )
    errors = []
    for step in steps:
        item = next((step / name for name in _ITEMS if (step / name).exists()), step / "params")
        try:
            return _read(item)
        except InputError as error:
            errors.append(str(error))
            if step is not steps[-1]:
                logging.warning("%s; trying the step before", error)
    raise InputError(errors[0])


def read_last_spec(folder: epath.Path) -> RunSpec | None:
    """Returns what the last readable checkpoint of a run folder says of itself; None if there is none."""
    root = folder / CHECKPOINT_FOLDER
    if not root.exists():
        return None
    steps = sorted((p for p in root.iterdir() if p.name.isdigit()), key=lambda p: -int(p.name))
    for step in steps:
        try:
            return _read_spec(step)
        except (OSError, ValueError, InputError):
            # It is damaged; `Checkpoints` sets it aside.
            continue
    return None


def write_params(folder: epath.Path, params: Params, spec: RunSpec) -> None:
    """Writes weights that were not trained by a run here, in the form that `restore_params` reads.

    Args:
        folder: run folder; its checkpoints are replaced.
        params: nested dicts of arrays.
        spec: description of the parameters.
    """
    root = folder / CHECKPOINT_FOLDER
    if root.exists():
        root.rmtree()
    handlers = {"params": ocp.StandardCheckpointHandler(), "config": ocp.JsonCheckpointHandler()}
    with ocp.CheckpointManager(root, item_handlers=handlers) as manager:
        items = {
            "params": ocp.args.StandardSave(params),
            "config": ocp.args.JsonSave(spec.to_json()),
        }
        manager.save(0, args=ocp.args.Composite(**items))


def _step_folders(folder: epath.Path) -> list[epath.Path]:
    """Returns the step folders to try, in order of preference."""
    if (folder / "params").exists():
        return [folder]
    root = folder / CHECKPOINT_FOLDER if (folder / CHECKPOINT_FOLDER).exists() else folder
    steps = sorted((p for p in root.iterdir() if p.name.isdigit()), key=lambda p: -int(p.name))
    best_file = root.parent / BEST_FILE
    if best_file.exists():
        try:
            best = str(json.loads(best_file.read_text())["step"])
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"{best_file} is damaged and does not say which step is the best; give a step, as in {steps[0]}"
                if steps
                else f"{best_file} is damaged, and {root} holds no checkpoint"
            ) from error
        if steps and all(step.name != best for step in steps):
            logging.warning(
                "%s names step %s, whose checkpoint is gone: step %s, the last, is read",
                best_file,
                best,
                steps[0].name,
            )
        steps.sort(key=lambda p: p.name != best)
    return steps


def _read(item: epath.Path) -> Weights:
    """Reads one item of a checkpoint into host memory, whatever devices saved it."""
    try:
        spec = _read_spec(item.parent)
        with ocp.PyTreeCheckpointer() as reader:
            tree = reader.metadata(item).item_metadata.tree
            kinds = _map_leaves(tree, lambda _: ocp.RestoreArgs(restore_type=np.ndarray))
            params = reader.restore(item, restore_args=kinds)
    except InputError:
        raise
    # Any exception, since a damaged file may make a reader raise anything.
    except Exception as error:
        raise InputError(
            f"cannot read the weights in {item} ({type(error).__name__}: {reason(error)})"
        ) from error
    logging.info("weights: %s", item)
    return Weights(params=params, spec=spec, source=os.fspath(item))


def _read_spec(step: epath.Path) -> RunSpec:
    return RunSpec.from_json(json.loads((step / "config" / "metadata").read_text()))


def _map_leaves(tree: Any, change: Any) -> Any:
    """Maps the leaves of nested dicts; not by jax, to which the metadata of an array is itself a pytree."""
    if isinstance(tree, dict):
        return {name: _map_leaves(value, change) for name, value in tree.items()}
    return change(tree)
