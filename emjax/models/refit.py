"""Statistics of batch normalizations, taken again on images of another kind.

Published networks normalize by the mean and the variance that each layer's features had on photographs. Features of
electron micrographs have others, above all behind a first kernel that was changed. So both are estimated anew, by
forward passes in which each layer normalizes by the batch's own statistics, as in training; what was learnt, the factor
and the shift after the normalization, is kept. Both are folded into the two parameters of `ImageNorm`.

Source: "Revisiting Batch Normalization For Practical Domain Adaptation" (arXiv:1603.04779).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from emjax.errors import InputError
from emjax.models.backbone import Backbone
from emjax.models.build import Params
from emjax.models.image_layers import ImageNorm
from emjax.models.middle import apply_middle
from emjax.models.published import Published
from emjax.parallel.compile import jit
from emjax.weights.arrays import Arrays

_BATCH_NORM_ARRAYS = 4


class Learnt(NamedTuple):
    """What a batch normalization applies after its statistics; each `[c]`."""

    factor: np.ndarray
    shift: np.ndarray


def learnt_norms(published: Published, arrays: Arrays) -> dict[str, Learnt]:
    """Returns what each batch normalization of a file applies after its statistics, by its path in the network.

    Args:
        published: made by `load_published` of these arrays.
        arrays: of the file.
    """
    found = {}
    for path, names in published.filled.sources.items():
        # A folded shift is made of the weight, the bias, the mean and the variance (`families.family.batch_norm`).
        if path.endswith("/bias") and len(names) == _BATCH_NORM_ARRAYS:
            factor, shift = (np.asarray(arrays[name], np.float32) for name in names[:2])
            found[path.removesuffix("/bias")] = Learnt(factor, shift)
    return found


def refit(
    backbone: Backbone,
    params: Params,
    learnt: Mapping[str, Learnt],
    images: Iterable[jax.Array],
    epsilon: float,
) -> Params:
    """Returns the parameters with the statistics of images folded in.

    Args:
        backbone: a network whose `norm` is 'affine'.
        params: its parameters.
        learnt: path of each `ImageNorm` -> what it applies after its statistics.
        images: batches `[b, n, y, x, 1]`, each of the same shape; 50 to 100 of them are usual.
        epsilon: added to each variance.

    Raises:
        InputError: if there are no images.
    """
    measure = make_measure(backbone, epsilon)
    sums: Any = None
    count = 0
    for batch in images:
        found = measure(params, dict(learnt), batch)
        sums = found if sums is None else jax.tree.map(jnp.add, sums, found)
        count += 1
    if not count:
        raise InputError("statistics of normalizations need images; there are none")
    new = jax.tree.map(lambda leaf: leaf, params)  # other dicts, the same arrays
    for path, (mean, variance) in sums.items():
        factor = np.asarray(learnt[path].factor) / np.sqrt(np.asarray(variance) / count + epsilon)
        shift = np.asarray(learnt[path].shift) - np.asarray(mean) / count * factor
        at = new
        for name in path.split("/"):
            at = at[name]
        at["scale"], at["bias"] = jnp.asarray(factor), jnp.asarray(shift)
    return new


@functools.cache
def make_measure(
    backbone: Backbone, epsilon: float
) -> Callable[[Params, Mapping[str, Learnt], jax.Array], dict[str, tuple[jax.Array, jax.Array]]]:
    """Compiles one pass: parameters, what was learnt, a batch -> path -> mean and variance of what is normalized."""

    def measure(
        params: Params, learnt: Mapping[str, Learnt], x: jax.Array
    ) -> dict[str, tuple[jax.Array, jax.Array]]:
        found: dict[str, tuple[jax.Array, jax.Array]] = {}

        def by_batch(
            run: Callable[..., Any],
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            context: nn.module.InterceptorContext,
        ) -> Any:
            path = "/".join(context.module.path)
            if not (isinstance(context.module, ImageNorm) and path in learnt):
                return run(*args, **kwargs)
            wide = args[0].astype(jnp.float32)
            mean, variance = wide.mean((0, 1, 2, 3)), wide.var((0, 1, 2, 3))
            found[path] = mean, variance
            factor = learnt[path].factor * jax.lax.rsqrt(variance + epsilon)
            return ((wide - mean) * factor + learnt[path].shift).astype(args[0].dtype)

        with nn.intercept_methods(by_batch):
            apply_middle(backbone, params, x)
        return found

    return jit(measure)
