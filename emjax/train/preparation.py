"""Prepares a training job: from opened volumes to batches, with a complete network and enough disk space."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
from absl import logging
from jax.sharding import Mesh

from emjax.data.loader import Batches
from emjax.data.opening import OpenedEntry
from emjax.data.source import Crops
from emjax.geometry.sizes import Size
from emjax.models.anisotropy import most_anisotropic
from emjax.models.backbone import nearest_multiple
from emjax.models.build import build_backbone, fit_to_voxels
from emjax.tasks.task import Task
from emjax.train.optimizer import make_optimizer
from emjax.train.rates import Layers
from emjax.train.settings import DataSettings, TrainSettings
from emjax.train.state import TrainState, abstract_state


def common_voxel_nm(values: Mapping[str, Any], entries: Sequence[OpenedEntry]) -> tuple[float, ...]:
    """Returns the (z, y, x) voxel size of all crops, nm; empty if it is mixed or unknown, which is warned of."""
    if values["data"]["voxel_nm"]:
        return tuple(values["data"]["voxel_nm"])
    unknown = [entry.image.name for entry in entries if entry.image.voxel_nm is None]
    if unknown:
        logging.warning(
            "the voxel size of %s is unknown: the network pools in the plane alone unless model.strides are given, and "
            "nothing notices a prediction at another voxel size; add ?voxel_nm=Z,Y,X to the address",
            ", ".join(unknown),
        )
    sizes = {entry.image.voxel_nm for entry in entries}
    only = sizes.pop()
    return () if sizes or only is None else only


def pooled_voxel_nm(values: Mapping[str, Any], entries: Sequence[OpenedEntry]) -> tuple[float, ...]:
    """Returns the (z, y, x) voxel size, nm, that poolings are chosen for; empty if some are unknown."""
    if values["data"]["voxel_nm"]:
        return tuple(values["data"]["voxel_nm"])
    return most_anisotropic([entry.image.voxel_nm or () for entry in entries])


def with_network(
    values: Mapping[str, Any],
    voxel_nm: Sequence[float],
    like: Mapping[str, Any] | None = None,
    told: Collection[str] = (),
) -> dict[str, Any]:
    """Returns the configuration with a complete network: fields left open are chosen for the voxel size.

    If the crops of a preset do not fit the network that is chosen, the nearest that do are taken. Those that a user
    chose stay as they are, and are refused later.

    Args:
        values: the configuration as plain dicts.
        voxel_nm: (z, y, x) voxel size, nm, as `pooled_voxel_nm` returns it.
        like: the group `model` of the run that weights come from, whose choices take precedence.
        told: dotted names of the fields that a user chose; the others come from presets.
    """
    model = fit_to_voxels(values["model"], voxel_nm, like)
    found = {**values, "model": model}
    if model == values["model"] or "data.crop_size" in told:
        return found
    step = build_backbone({**model, "out_channels": 1}).footprint.stride
    size = tuple(values["data"]["crop_size"])
    fit = nearest_multiple(size, step)
    if fit == size:
        return found
    logging.info(
        "crops of %s voxels instead of the preset's %s: voxels of %s nm are pooled by %s",
        *("x".join(f"{n:g}" for n in numbers) for numbers in (fit, size, voxel_nm, step)),
    )
    return {**found, "data": {**values["data"], "crop_size": fit}}


def make_crops(
    data: DataSettings,
    entries: Sequence[OpenedEntry],
    window: Size,
    *,
    seed: int,
    **options: Any,
) -> Crops:
    """Makes the source of examples that the settings describe.

    Args:
        data: settings of how volumes are mixed and read.
        entries: the volumes.
        window: (z, y, x) voxels of a window.
        seed: seed of the order of volumes and of the places in them.
        **options: further options of `Crops`.
    """
    return Crops(
        entries,
        window,
        seed=seed,
        voxel_nm=data.voxel_nm,
        probabilities=data.probabilities,
        pad=data.pad,
        max_blank_tries=data.max_blank_tries,
        **options,
    )


def make_batches(data: DataSettings, crops: Crops) -> Batches:
    """Makes the loader of this process's rows of the global batches."""
    return Batches(
        crops,
        data.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=data.num_threads,
        prefetch_batches=data.prefetch_batches,
    )


def shapes_of_state(task: Task, settings: TrainSettings, mesh: Mesh, layers: Layers) -> TrainState:
    """Returns the shapes of the state of a run, before anything is compiled."""
    optimizer, _ = make_optimizer(settings.optimizer, settings.num_steps, layers)
    return abstract_state(task, optimizer, seed=settings.seed, ema=settings.uses_ema, mesh=mesh)
