"""Starting a run from the weights of another: `init_from`.

Every parameter of the new network that has a namesake of the same shape takes its value. Heads,
projections and matchers belong to their task and begin anew, unless both runs are of the same job.
A backbone that mostly does not match is an error, not a warning: a run that silently starts from
scratch costs days.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from emjax.errors import InputError
from emjax.parallel import runtime
from emjax.tasks.protocol import Params
from emjax.train.weights import Weights

BACKBONE = "backbone"
# Parts of the backbone that every task shares; `head` is the task's own.
BACKBONE_PARTS = ("stem", "encoder", "centre", "decoder")
MIN_MATCHED = 0.95


def merge_params(initial: Mapping[str, Any], weights: Weights, job: str) -> tuple[Params, str]:
    """Puts weights into the parameters of a new run.

    Args:
        initial: parameters of the new run, arrays or their shapes.
        weights: as read by `restore_params`.
        job: of the new run; of the same job everything is taken over, heads as well.

    Returns:
        The parameters, where those not taken over are None; and a table of how many of each part
        were.

    Raises:
        InputError: if less than 95 % of the backbone's parameters (counted in numbers) match; lists
            every path.
    """
    wanted, found = _by_path(initial), _by_path(weights.params)
    same_job = weights.spec.job == job
    taken: dict[str, Any] = {}
    counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    missing = []
    backbone_size = backbone_taken = 0
    for path, leaf in wanted.items():
        part, shared = _part(path)
        size = int(np.prod(leaf.shape))
        matches = path in found and tuple(found[path].shape) == tuple(leaf.shape)
        matches &= shared or same_job
        counts[part][0] += size * matches
        counts[part][1] += size
        if matches:
            taken[path] = found[path]
        if shared:
            backbone_size += size
            backbone_taken += size * matches
            if not matches:
                shape = tuple(found[path].shape) if path in found else "absent"
                missing.append(f"{path} {tuple(leaf.shape)} (there: {shape})")
    if backbone_taken < MIN_MATCHED * backbone_size or not backbone_size:
        share = backbone_taken / max(1, backbone_size)
        raise InputError(
            f"init_from={weights.source}: only {share:.0%} of the backbone matches, "
            f"{MIN_MATCHED:.0%} is needed; give the same config.model as that run; "
            f"without a match: {', '.join(missing)}"
        )
    return _nested(initial, taken), _table(counts, weights.source)


def start_from(state_params: Params, weights: Weights, job: str) -> Params:
    """Returns parameters for `with_params`: the new run's own where nothing matched.

    Args:
        state_params: parameters of the new run, global arrays.
        weights: as read by `restore_params`.
        job: of the new run.
    """
    merged, table = merge_params(state_params, weights, job)
    if runtime.is_main():
        print(table, file=sys.stderr, flush=True)
    logging.info("starting from %s", weights.source)
    return jax.tree.map(
        lambda new, own: own if new is None else new,
        merged,
        state_params,
        is_leaf=lambda x: x is None,
    )


def _part(path: str) -> tuple[str, bool]:
    """Returns the part a parameter is counted in, and whether every task shares it."""
    names = path.split("/")
    if names[0] == BACKBONE and len(names) > 1:
        shared = any(names[1].startswith(part) for part in BACKBONE_PARTS)
        return f"{BACKBONE}/{names[1]}", shared
    return names[0], False


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


def _table(counts: Mapping[str, list[int]], source: str) -> str:
    rows = [f"weights from {source}"]
    for part, (taken, size) in sorted(counts.items()):
        rows.append(f"  {part:<28} {taken:>12,} of {size:>12,} parameters")
    return "\n".join(rows)
