"""Chooses how arrays are split over the mesh: parameters by their shapes, activations by the names of their axes.

This follows big_vision's `sharding.py`: shardings are inferred from shapes, because rules for each layer break where a
number of channels is not divisible.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from emjax.parallel.mesh import BATCH_AXES, FSDP, SPATIAL

# Name of an array's axis -> mesh axes that it may be split over.
_RULES: dict[str, tuple[str, ...]] = {
    "batch": BATCH_AXES,
    "y": (SPATIAL,),
    "token": (SPATIAL,),
    "z": (),
    "x": (),
    "channel": (),
}


def constrain(x: jax.Array, *names: str) -> jax.Array:
    """Asks the compiler to split an activation by the names of its axes; does nothing without a mesh.

    An axis that cannot be divided evenly, such as y at a U-Net's bottleneck, stays whole; a batch that can be divided
    only by the first of its mesh axes is split over that one.

    Args:
        x: any array.
        *names: one of 'batch', 'z', 'y', 'x', 'channel', 'token' for each axis.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    spec = []
    for size, name in zip(x.shape, names, strict=True):
        axes, count = [], 1
        for axis in _RULES[name]:
            length = mesh.shape.get(axis, 1)
            if length > 1 and size % (count * length) == 0:
                axes.append(axis)
                count *= length
        spec.append(tuple(axes) or None)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*spec))


# Size in bytes below which splitting a parameter costs more than it saves.
MIN_BYTES = 2**18


def infer_sharding(tree: Any, mesh: Mesh, min_bytes: int = MIN_BYTES) -> Any:
    """Chooses how parameters and optimizer state are split over a mesh.

    Every leaf of at least `min_bytes` is split over `fsdp` along its largest divisible axis; others are copied to all
    devices.

    Args:
        tree: arrays or shapes.
        mesh: device mesh with an axis `fsdp`.
        min_bytes: size in bytes of the smallest leaf that is split.

    Returns:
        `NamedSharding`s in the same structure.
    """
    count = mesh.shape[FSDP]

    def choose(leaf: Any) -> NamedSharding:
        spec: list[str | None] = [None] * len(leaf.shape)
        size = _bytes(leaf)
        divisible = [axis for axis, length in enumerate(leaf.shape) if length % count == 0]
        if count > 1 and size >= min_bytes and divisible:
            # Of equal axes the last one, such as the output channels of a square kernel.
            spec[max(divisible, key=lambda axis: (leaf.shape[axis], axis))] = FSDP
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(choose, tree)


def describe_copies(params: Any, min_bytes: int = MIN_BYTES) -> str:
    """Returns a message on the large parameters that are copied to every device because no axis is divisible, or ''.

    Args:
        params: arrays, or shapes with shardings.
        min_bytes: size in bytes below which parameters are copied on purpose.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    counts = {leaf.sharding.mesh.shape[FSDP] for _, leaf in leaves}
    count = max(counts, default=1)
    large = [(path, leaf) for path, leaf in leaves if _bytes(leaf) >= min_bytes]
    copied = [(path, leaf) for path, leaf in large if leaf.sharding.is_fully_replicated]
    if count == 1 or not copied:
        return ""
    names = [
        f"{jax.tree_util.keystr(path, simple=True, separator='/')} {tuple(leaf.shape)}"
        for path, leaf in copied[:4]
    ]
    more = f" and {len(copied) - 4} more" if len(copied) > 4 else ""
    size, whole = (sum(_bytes(leaf) for _, leaf in part) / 2**20 for part in (copied, large))
    return (
        f"mesh.fsdp={count}, but every device holds {size:.3g} of {whole:.3g} MiB of large parameters whole, because "
        f"no axis of them is a multiple of {count}: {', '.join(names)}{more}; choose widths that are, or another "
        "mesh.fsdp"
    )


def _bytes(leaf: Any) -> int:
    """Returns the size of an array in bytes; 0 for random keys, which are never split."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return 0
    return int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize
