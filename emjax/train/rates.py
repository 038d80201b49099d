"""Relative learning rates of parameters: frozen parts, and lower rates for early layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax

from emjax.errors import InputError
from emjax.tasks.task import Params

# Layers in the order of the forward pass: for each entry a pattern of paths within the backbone, and the number of
# layers that are stacked along the first axis of each array.
Layers = Sequence[tuple[str, int]]


def rate_multipliers(params: Params, layers: Layers, decay: float, freeze: str) -> Any:
    """Returns the factor by which the learning rate of each parameter is multiplied.

    Args:
        params: nested dicts of arrays, or their shapes.
        layers: layers of the backbone; parameters of no layer, such as those of heads, learn at the full rate.
        decay: the last layer learns at the full rate times `decay`, the one before at `decay` squared, and so on;
            1 for one rate everywhere.
        freeze: regular expressions separated by commas; a parameter is frozen if one of them matches within its path
            (`backbone/encoder/level0/...`).

    Returns:
        The same tree: 0.0 for frozen parameters, else a number, or an array `[k, 1, ...]` for k stacked layers.

    Raises:
        InputError: if an expression is invalid, or matches no parameter.

    Source: layer-wise decay follows BEiT (arXiv:2106.08254).
    """
    patterns = _patterns(freeze)
    used: set[str] = set()
    total = sum(count for _, count in layers)

    def multiplier(path: tuple[Any, ...], leaf: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        matching = [pattern for pattern in patterns if re.search(pattern, name)]
        used.update(matching)
        if matching:
            return 0.0
        before = 0
        for pattern, count in layers:
            if decay < 1 and re.match(f"backbone/{pattern}(/|$)", name):
                if count == 1:
                    return decay ** (total - before)
                powers = decay ** (total - before - np.arange(count, dtype=np.float32))
                return powers.reshape(count, *(1,) * (leaf.ndim - 1))
            before += count
        return 1.0

    tree = jax.tree_util.tree_map_with_path(multiplier, params)
    unused = [pattern for pattern in patterns if pattern not in used]
    if unused:
        modules = sorted({"/".join(p.split("/")[:3]) for p in _paths(params)})
        raise InputError(
            f"optimizer.freeze: '{unused[0]}' matches no parameter; there are {', '.join(modules)}"
        )
    return tree


def with_rates(
    inner: optax.GradientTransformation, layers: Layers, decay: float, freeze: str
) -> optax.GradientTransformation:
    """Wraps an optimizer so that it uses `rate_multipliers`.

    Gradients of frozen parameters are set to 0 before clipping, and their weights do not decay.
    """

    def freeze_gradients(updates: Params, _: Params | None) -> Params:
        rates = rate_multipliers(updates, layers, decay, freeze)
        return jax.tree.map(lambda u, r: u * (np.max(r) > 0), updates, rates)

    def scale(updates: Params, _: Params | None) -> Params:
        rates = rate_multipliers(updates, layers, decay, freeze)
        return jax.tree.map(lambda u, r: u * r, updates, rates)

    return optax.chain(optax.stateless(freeze_gradients), inner, optax.stateless(scale))


def _patterns(freeze: str) -> list[str]:
    patterns = [part.strip() for part in freeze.split(",") if part.strip()]
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InputError(
                f"optimizer.freeze: '{pattern}' is no regular expression ({error})"
            ) from error
    return patterns


def _paths(params: Params) -> list[str]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
