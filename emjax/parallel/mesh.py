"""The device mesh: its three axes, and what is split over each.

`data` and `fsdp` split the batch; `fsdp` also splits large parameters and their optimizer state;
`spatial` splits y of each crop. The order of the axes gives the last one the fastest links, which
halo exchange needs.

Source: fully sharded data parallelism follows "ZeRO: Memory Optimizations Toward Training Trillion
Parameter Models" (arXiv:1910.02054).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from absl import logging
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from emjax.errors import InputError

DATA = "data"
FSDP = "fsdp"
SPATIAL = "spatial"
AXES = (DATA, FSDP, SPATIAL)
BATCH_AXES = (DATA, FSDP)


def make_mesh(
    sizes: Mapping[str, int],
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> Mesh:
    """Arranges devices as (data, fsdp, spatial).

    Args:
        sizes: axis -> number of devices along it; at most one is -1, for all remaining devices.
        devices: devices to use; None: all devices of the run.

    Returns:
        A mesh whose axes are all of type Auto, so that the compiler chooses where halos are
        exchanged.

    Raises:
        InputError: if the sizes do not fit the devices.
    """
    explicit = devices is not None
    devices = list(devices) if devices is not None else jax.devices()
    shape = _fill(sizes, len(devices))
    used = math.prod(shape)
    if used < len(devices) and not explicit:
        if jax.process_count() > 1:
            raise InputError(
                f"the mesh has {used} of the {len(devices)} devices; a run of several processes "
                "needs all of them: set one axis of mesh to -1"
            )
        logging.warning("the mesh uses %d of %d devices", used, len(devices))
    spatial = shape[AXES.index(SPATIAL)]
    # Each process must hold whole crops, since the loader gives it rows and not parts of crops.
    if jax.process_count() > 1 and jax.local_device_count() % spatial:
        raise InputError(
            f"mesh.spatial={spatial} must divide the {jax.local_device_count()} devices of each "
            "process"
        )
    kinds = (AxisType.Auto,) * len(AXES)
    if explicit or used < len(devices):
        return Mesh(np.array(devices[:used]).reshape(shape), AXES, axis_types=kinds)
    return jax.make_mesh(shape, AXES, axis_types=kinds)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of every array of a batch, whose rows are split over `data` and `fsdp`."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays of which every device holds a whole copy."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Checks that the rows of a global batch can be split evenly over the mesh.

    Args:
        batch_size: rows of the global batch, on all devices together.
        mesh: mesh as made by `make_mesh`.

    Raises:
        InputError: if they cannot; names the nearest sizes that fit.
    """
    parts = mesh.shape[DATA] * mesh.shape[FSDP]
    if batch_size % parts == 0:
        return
    lower = batch_size // parts * parts
    sizes = f"{lower} or {lower + parts}" if lower else f"{parts}"
    raise InputError(
        f"data.batch_size={batch_size} is not divisible by {parts} "
        f"(mesh.data {mesh.shape[DATA]} x mesh.fsdp {mesh.shape[FSDP]}); use {sizes}, "
        "or a smaller mesh.data"
    )


def _fill(sizes: Mapping[str, int], device_count: int) -> tuple[int, ...]:
    """Returns the mesh's shape with -1 replaced by the remaining devices; checks that it fits the devices."""
    shape = [int(sizes[axis]) for axis in AXES]
    shown = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, shape, strict=True))
    if shape.count(-1) > 1 or any(size < 1 and size != -1 for size in shape):
        raise InputError(f"mesh ({shown}): axes need 1 or more devices, and only one may be -1")
    known = math.prod(size for size in shape if size != -1)
    there = "is 1" if device_count == 1 else f"are {device_count}"
    # The largest is most likely the one that was meant for more devices.
    largest = max(AXES, key=lambda axis: sizes[axis])
    advice = f"make an axis smaller, as --config.mesh.{largest}=1"
    if -1 in shape:
        if device_count % known:
            raise InputError(
                f"mesh ({shown}) needs {known} devices or a multiple of that, there {there}; {advice}"
            )
        shape[shape.index(-1)] = device_count // known
    elif known > device_count:
        raise InputError(f"mesh ({shown}) needs {known} devices, there {there}; {advice}")
    return tuple(shape)
