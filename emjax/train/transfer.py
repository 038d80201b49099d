"""Starts a run from the weights of another run (`init_from`).

A parameter of the new network takes the value of the parameter with the same name and shape. Heads,
projections and matchers belong to their task and begin anew, unless both runs are of the same job. So does a decoder
of which the weights have nothing. Skips begin anew, too, since pretraining has none, and so do the statistics of a
normalization that the other run did not have. A backbone that does not match is an error, not a warning, since a run
that silently starts from scratch costs days.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from emjax.errors import InputError
from emjax.models.backbone import PARTS, SKIPS
from emjax.models.normalization import STATISTICS
from emjax.parallel import runtime
from emjax.tasks.task import Params
from emjax.train.weights import Weights

BACKBONE = "backbone"
# Parts of the backbone that every task shares; the head is the task's own.
SHARED_PARTS = tuple(part for part in PARTS if part != "head")
MIN_MATCHED = 0.95


def merge_params(initial: Mapping[str, Any], weights: Weights, job: str) -> tuple[Params, str]:
    """Puts weights into the parameters of a new run.

    Args:
        initial: parameters of the new run, arrays or their shapes.
        weights: weights as read by `restore_params`.
        job: job of the new run; if the weights are of the same job, heads of equal shape are taken over as well.

    Returns:
        The parameters, with None for those not taken over; and a table of the modules whose
        parameters were taken over, begin anew, or were left over.

    Raises:
        InputError: if a shared parameter has another shape in `weights`, or less than 95 % of the
            backbone's parameters (counted as single numbers, without absent skips and statistics) match; lists
            the paths without a match.
    """
    wanted, found = _by_path(initial), _by_path(weights.params)
    decoder = f"{BACKBONE}/decoder"
    parts = SHARED_PARTS
    if not any(path.startswith(decoder) for path in found):
        # Weights of an encoder alone.
        parts = tuple(part for part in SHARED_PARTS if part != "decoder")
    same_job = weights.spec.job == job
    taken: dict[str, Any] = {}
    new: dict[str, Any] = {}
    differing, missing = [], []
    backbone_size = backbone_taken = 0
    for path, leaf in wanted.items():
        shared = _is_in(path, parts)
        size = int(np.prod(leaf.shape))
        counted = shared and not (path not in found and _may_be_absent(path))
        there = found.get(path) if shared or same_job else None
        if there is not None and tuple(there.shape) == tuple(leaf.shape):
            taken[path] = there
            backbone_taken += size * shared
        else:
            new[path] = leaf
            if shared and there is not None:
                differing.append(f"{path} {tuple(leaf.shape)} (there: {tuple(there.shape)})")
            elif counted:
                missing.append(f"{path} {tuple(leaf.shape)} (absent)")
        backbone_size += size * counted
    if differing or not backbone_size or backbone_taken < MIN_MATCHED * backbone_size:
        share = backbone_taken / max(1, backbone_size)
        raise InputError(
            f"init_from={weights.source}: {share:.0%} of the backbone matches; every shape must, and "
            f"{MIN_MATCHED:.0%} of it must be there; give the same config.model as that run; "
            f"without a match: {', '.join(differing + missing)}"
        )
    left = {path: leaf for path, leaf in found.items() if path not in taken}
    groups = (("taken over", taken), ("begins anew", new), ("left over there", left))
    return _nested(initial, taken), _table(groups, weights.source)


def check_start(shapes: Params, weights: Weights, job: str, conflicts: str = "") -> None:
    """Checks that weights fit a new run.

    Args:
        shapes: parameters of the new run, or their shapes.
        weights: weights as read by `restore_params`.
        job: job of the new run.
        conflicts: what a user chose against the network of the weights, to begin the message with.

    Raises:
        InputError: if they do not fit, as `merge_params`.
    """
    try:
        merge_params(shapes, weights, job)
    except InputError as error:
        raise InputError(f"{conflicts}; {error}" if conflicts else str(error)) from error


def start_from(state_params: Params, weights: Weights, job: str) -> Params:
    """Returns parameters for `with_params`: those of `weights` where they match, else the new run's own.

    Args:
        state_params: parameters of the new run, global arrays.
        weights: weights as read by `restore_params`.
        job: job of the new run.
    """
    merged, table = merge_params(state_params, weights, job)
    if runtime.is_main():
        print(table, file=sys.stderr, flush=True)
    logging.info("starting from %s: %s", weights.source, _anew(merged))
    return jax.tree.map(
        lambda new, own: own if new is None else new,
        merged,
        state_params,
        is_leaf=lambda x: x is None,
    )


def _anew(merged: Params) -> str:
    """Returns which modules begin anew, in one line."""
    new = [path for path, leaf in _by_path(merged).items() if leaf is None]
    modules = sorted({"/".join(path.split("/")[:3]) for path in new})
    return f"{', '.join(modules)} begin anew" if modules else "nothing begins anew"


def _is_in(path: str, parts: tuple[str, ...]) -> bool:
    """Whether a parameter belongs to one of these parts of the backbone."""
    names = path.split("/")
    return names[0] == BACKBONE and len(names) > 1 and names[1].startswith(parts)


def _may_be_absent(path: str) -> bool:
    """Whether weights of the same network may be without a parameter: a skip, or a statistic of a normalization."""
    return bool(SKIPS.search(path)) or path.rsplit("/", 1)[-1] in STATISTICS


def _by_path(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _by_path(value, f"{prefix}/{name}" if prefix else str(name))
    return flat


def _nested(like: Any, flat: Mapping[str, Any], prefix: str = "") -> Any:
    if not isinstance(like, Mapping):
        return flat.get(prefix)
    return {
        name: _nested(value, flat, f"{prefix}/{name}" if prefix else str(name))
        for name, value in like.items()
    }


def _table(groups: Sequence[tuple[str, Mapping[str, Any]]], source: str) -> str:
    """Returns a table of modules, down to the levels of encoder and decoder, with their numbers of parameters."""
    rows = [f"weights from {source}"]
    for title, leaves in groups:
        modules: dict[str, int] = collections.defaultdict(int)
        for path, leaf in leaves.items():
            modules["/".join(path.split("/")[:3])] += int(np.prod(leaf.shape))
        rows.append(f"  {title}: {sum(modules.values()):,} parameters")
        rows += [f"    {module:<34} {size:>12,}" for module, size in sorted(modules.items())]
    return "\n".join(rows)
