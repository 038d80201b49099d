"""Saves and restores checkpoints, from which a run is resumed and its weights are read.

A step folder has the items `params`, `ema` (if an average is kept), `train` (the rest of the
state), `data` (the position of the loader) and `config` (a `RunSpec`, JSON). Weights are items of
their own, so that finetuning and prediction can read them without knowing the optimizer. Orbax is
used only here and in `weights.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint import checkpoint_managers

from emjax.errors import InputError, reason
from emjax.parallel import runtime
from emjax.runs.folder import write_json
from emjax.runs.spec import RunSpec
from emjax.train.readable import check_readable
from emjax.train.state import TrainState

CHECKPOINT_FOLDER = "checkpoints"
DAMAGED_FOLDER = "damaged_checkpoints"
BEST_FILE = "best.json"


@dataclasses.dataclass
class _LatestAndBest:
    """The rule to keep the latest checkpoints, and the best one however old.

    Attributes:
        keep: number of latest checkpoints to keep.
        best: step of the best checkpoint, or None.
    """

    keep: int
    best: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Returns whether to keep each checkpoint, oldest first; a method of orbax's PreservationPolicy."""
        first_kept = len(checkpoints) - self.keep
        return [i >= first_kept or info.step == self.best for i, info in enumerate(checkpoints)]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: epath.Path, *, keep: int, ema: bool) -> None:
        """Opens the folder, and deletes half-written checkpoints of a killed run.

        Args:
            folder: run folder.
            keep: number of latest checkpoints to keep.
            ema: whether the state has a moving average of the weights.
        """
        self._folder = folder
        self._root = folder / CHECKPOINT_FOLDER
        self._ema = ema
        self._policy = _LatestAndBest(keep)
        handlers: dict[str, Any] = {
            "params": ocp.StandardCheckpointHandler(),
            "train": ocp.StandardCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
            "config": ocp.JsonCheckpointHandler(),
        }
        if ema:
            handlers["ema"] = ocp.StandardCheckpointHandler()
        self._manager = ocp.CheckpointManager(
            self._root,
            item_handlers=handlers,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy([self._policy]),
                # Otherwise half-written folders of a killed run would stay forever.
                cleanup_tmp_directories=True,
            ),
        )

    @property
    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: TrainState, data: Mapping[str, Any], spec: RunSpec) -> None:
        """Saves a checkpoint in the background; returns once the state may be donated.

        Args:
            step: number of steps done; an existing checkpoint of that step is left as it is.
            state: state of the training, global arrays.
            data: position of the loader.
            spec: description of the weights.
        """
        if step in self._manager.all_steps():
            return
        items = _split(state)
        arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                data=ocp.args.JsonSave(dict(data)),
                config=ocp.args.JsonSave(spec.to_json()),
                **arguments,
            ),
            force=True,
        )

    def restore_latest(self, abstract: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Restores the latest checkpoint that can be read.

        A checkpoint that cannot be read is reported and moved to `damaged_checkpoints`, and the one
        before it is tried. All processes restore the same one.

        Args:
            abstract: shapes and shardings of the state; the mesh may differ from that of the run
                that saved.

        Returns:
            The state and the position of the loader, or None if there is no checkpoint.

        Raises:
            InputError: if there are checkpoints but none can be read, or they are of another
                network.
        """
        damaged: dict[int, Exception] = {}
        for step in reversed(self.steps):
            try:
                self._check(step)
                restored = self._restore(step, abstract)
            except InputError:
                raise
            # Any exception, since a damaged file may make a reader raise anything.
            except Exception as error:
                if jax.process_count() > 1 and not isinstance(error, _UnreadableError):
                    # Other processes may wait within the restore, so they cannot agree on another step.
                    raise
                damaged[step] = error
                continue
            # Moved only now: if no checkpoint can be read, the files may not be at fault.
            for other, error in damaged.items():
                self._set_aside(other, error)
            logging.info("going on from %s", self._root / str(step))
            return restored
        if damaged:
            newest, error = next(iter(damaged.items()))
            raise InputError(
                f"no checkpoint in {self._root} can be read (step {newest}: {_describe(error)}); "
                "begin anew with another --workdir or --config.overwrite=true"
            )
        return None

    def mark_best(self, step: int | None, metric: str, value: float | None) -> None:
        """Keeps the checkpoint of a step as the best one, and names it in `best.json` for readers of weights."""
        self._policy.best = step
        if not runtime.is_main():
            return
        path = self._folder / BEST_FILE
        if step is not None:
            write_json(path, {"step": step, "metric": metric, "value": value})
        elif path.exists():
            path.unlink()

    def wait(self) -> None:
        """Waits until all saved checkpoints are on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits until all saved checkpoints are on disk, and closes the folder."""
        self._manager.wait_until_finished()
        self._manager.close()

    def _check(self, step: int) -> None:
        """Checks a checkpoint: with several processes, process 0 first reads all of it.

        If a restore failed on one process, the others would wait for it forever.
        """
        if jax.process_count() == 1:
            return
        reason = ""
        if runtime.is_main():
            try:
                check_readable(self._root / str(step))
            except Exception as error:
                reason = _describe(error)
        if runtime.agree(int(bool(reason))):
            raise _UnreadableError(reason)

    def _restore(self, step: int, abstract: TrainState) -> tuple[TrainState, dict[str, Any]]:
        items = _split(abstract)
        self._check_shapes(step, items)
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                data=ocp.args.JsonRestore(),
                **{name: ocp.args.StandardRestore(tree) for name, tree in items.items()},
            ),
        )
        state = abstract.replace(
            params=restored["params"],
            ema=restored["ema"] if self._ema else None,
            **restored["train"],
        )
        return state, dict(restored["data"])

    def _check_shapes(self, step: int, items: Mapping[str, Any]) -> None:
        """Compares paths and shapes before restoring, since orbax would report only the first mismatch."""
        metadata = self._manager.item_metadata(step)
        differences = []
        for name in ("params", "ema"):
            if name in items:
                found = shapes_by_path(metadata[name])
                wanted = shapes_by_path(items[name])
                differences += [
                    f"{name}/{path}: saved {found.get(path, 'absent')}, "
                    f"needed {wanted.get(path, 'absent')}"
                    for path in sorted(found.keys() | wanted.keys())
                    if found.get(path) != wanted.get(path)
                ]
        if differences:
            raise InputError(
                f"{self._root / str(step)} is of another network than this version makes: "
                f"{'; '.join(differences)}; begin anew with another --workdir"
            )

    def _set_aside(self, step: int, error: Exception) -> None:
        folder = self._root / str(step)
        target = self._folder / DAMAGED_FOLDER / str(step)
        logging.warning(
            "checkpoint %s is damaged and skipped (%s); moved to %s",
            folder,
            _describe(error),
            target,
        )
        if runtime.is_main():
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rmtree()
            folder.rename(target)
        runtime.wait_for_all(f"set_aside_{step}")
        self._manager.reload()


class _UnreadableError(Exception):
    """Process 0 could not read a checkpoint; raised on every process."""


def _describe(error: Exception) -> str:
    """Returns the type and the first line of an error."""
    return f"{type(error).__name__}: {reason(error)}"


def _split(state: TrainState) -> dict[str, Any]:
    """Returns the items of a checkpoint that hold arrays: name -> tree."""
    items = {
        "params": state.params,
        "train": {
            "step": state.step,
            "opt_state": state.opt_state,
            "rng": state.rng,
            "bad_steps": state.bad_steps,
        },
    }
    if state.ema is not None:
        items["ema"] = state.ema
    return items


def shapes_by_path(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns path -> shape of each array of a tree; a path is the names joined by '/'."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }
