"""Prepares a training job: from opened volumes to batches, with a complete network and enough disk space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import logging
from etils import epath
from jax.sharding import Mesh

from emjax.data.loader import Batches
from emjax.data.opening import OpenedEntry
from emjax.data.source import Crops
from emjax.geometry.sizes import Size
from emjax.models.build import fit_to_voxels
from emjax.runs.folder import check_space
from emjax.tasks.task import Task
from emjax.train.optimizer import make_optimizer
from emjax.train.rates import Layers
from emjax.train.settings import DataSettings, TrainSettings
from emjax.train.state import abstract_state, state_bytes


def common_voxel_nm(values: Mapping[str, Any], entries: Sequence[OpenedEntry]) -> tuple[float, ...]:
    """Returns the (z, y, x) voxel size of all crops, nm; empty if it is mixed or unknown."""
    if values["data"]["voxel_nm"]:
        return tuple(values["data"]["voxel_nm"])
    unknown = [entry.image.name for entry in entries if entry.image.voxel_nm is None]
    if unknown:
        logging.warning(
            "the voxel size of %s is unknown: the network pools in the plane alone unless its strides are given, and "
            "nothing notices a prediction at another voxel size; add ?voxel_nm=Z,Y,X to the address",
            ", ".join(unknown),
        )
    sizes = {entry.image.voxel_nm for entry in entries}
    only = sizes.pop()
    return () if sizes or only is None else only


def with_network(
    values: Mapping[str, Any],
    voxel_nm: Sequence[float],
    like: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the configuration with a complete network: fields left open are chosen for the voxel size.

    Args:
        values: the configuration as plain dicts.
        voxel_nm: (z, y, x) voxel size, nm; empty if it is unknown or mixed.
        like: the group `model` of the run that weights come from, whose choices take precedence.
    """
    crop_size = tuple(values["data"]["crop_size"])
    return {**values, "model": fit_to_voxels(values["model"], voxel_nm, crop_size, like)}


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


def check_disk(
    task: Task, settings: TrainSettings, folder: epath.Path, mesh: Mesh, layers: Layers
) -> None:
    """Checks the disk space for checkpoints early, before anything is compiled; raises InputError if it is short."""
    optimizer, _ = make_optimizer(settings.optimizer, settings.num_steps, layers)
    abstract = abstract_state(task, optimizer, seed=settings.seed, ema=settings.uses_ema, mesh=mesh)
    check_space(folder, state_bytes(abstract), settings.save.keep)
