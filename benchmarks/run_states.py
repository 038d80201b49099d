"""What two runs ended with, and how far it lies apart: `meshes.py` and `faults.py` judge by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

State = dict[str, np.ndarray]


def checkpoint_steps(folder: Path) -> list[int]:
    """Returns the steps that a run folder has whole checkpoints of, ascending."""
    root = folder / "checkpoints"
    return sorted(int(p.name) for p in root.glob("*") if p.name.isdigit()) if root.exists() else []


def read_state(folder: Path) -> State:
    """Reads all that the last checkpoint of a run goes on from: parameters, moments, counters and the key.

    Args:
        folder: of the run.

    Returns:
        Path in the checkpoint -> array.
    """
    step = (folder / "checkpoints" / str(checkpoint_steps(folder)[-1])).absolute()
    state = {}
    with ocp.PyTreeCheckpointer() as reader:
        for item in ("params", "train"):
            tree = reader.metadata(step / item).item_metadata.tree
            kinds = _map_leaves(tree, lambda _: ocp.RestoreArgs(restore_type=np.ndarray))
            found = reader.restore(step / item, restore_args=kinds)
            state.update(_flatten(found, item))
    state["data"] = np.array(list(json.loads((step / "data/metadata").read_text()).values()))
    return state


def read_record(folder: Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's record; what a process that was killed left half written is no line."""
    path = folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def read_losses(folder: Path) -> np.ndarray:
    """Returns the recorded loss of each step, NaN for one that was left out."""
    losses = [loss for line in read_record(folder) for loss in line.get("losses", [])]
    return np.array(losses, dtype=np.float64)


def same(a: State, b: State) -> bool:
    """Whether two states are equal to the last bit."""
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def distance(a: State, b: State) -> float:
    """Returns how far the parameters lie apart, as a part of their length."""
    names = [name for name in a if name.startswith("params/")]
    apart = sum(np.sum((a[k].astype(np.float64) - b[k]) ** 2) for k in names)
    return float(np.sqrt(apart / sum(np.sum(a[k].astype(np.float64) ** 2) for k in names)))


def _map_leaves(tree: Any, change: Any) -> Any:
    """Maps dicts and lists; the metadata of an array is itself a pytree to jax."""
    if isinstance(tree, Mapping):
        return {name: _map_leaves(value, change) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_map_leaves(value, change) for value in tree]
    return None if tree is None else change(tree)


def _flatten(tree: Any, path: str) -> State:
    if isinstance(tree, Mapping):
        parts = tree.items()
    elif isinstance(tree, list | tuple):
        parts = enumerate(tree)
    else:
        return {} if tree is None else {path: np.asarray(tree)}
    return {k: v for name, part in parts for k, v in _flatten(part, f"{path}/{name}").items()}
