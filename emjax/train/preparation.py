"""What every training job does between its volumes and the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from emjax.data.loader import Batches
from emjax.data.opening import OpenedEntry
from emjax.data.source import Crops
from emjax.models.build import fit_to_voxels
from emjax.runs.folder import check_space
from emjax.tasks.protocol import Task
from emjax.train.optimizer import make_optimizer
from emjax.train.rates import Layers
from emjax.train.state import abstract_state, state_bytes

# Another seed than any run's: the same held-out crops judge every run.
HELD_OUT_SEED = 2**32


def common_voxel_nm(values: Mapping[str, Any], entries: Sequence[OpenedEntry]) -> tuple[float, ...]:
    """Returns the (z, y, x) voxel size that all crops have, nm; empty where it is mixed or unknown."""
    if values["data"]["voxel_nm"]:
        return tuple(values["data"]["voxel_nm"])
    sizes = {entry.image.voxel_nm for entry in entries}
    only = sizes.pop()
    return () if sizes or only is None else only


def with_network(
    values: Mapping[str, Any],
    voxel_nm: Sequence[float],
    like: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns a configuration whose network is complete: fields that it leaves open follow from the voxels.

    Args:
        values: the configuration as plain dicts.
        voxel_nm: (z, y, x) nm, or empty where it is unknown or mixed.
        like: the group `model` of the run that weights come from, whose choice comes first.
    """
    crop_size = tuple(values["data"]["crop_size"])
    return {**values, "model": fit_to_voxels(values["model"], voxel_nm, crop_size, like)}


def make_crops(
    values: Mapping[str, Any],
    entries: Sequence[OpenedEntry],
    window: tuple[int, int, int],
    *,
    seed: int,
    **options: Any,
) -> Crops:
    """Makes the examples that the group `data` of a configuration describes.

    Args:
        values: the configuration as plain dicts.
        entries: volumes.
        window: (z, y, x) voxels of a window.
        seed: of the order and the places.
        **options: further ones of `Crops`.
    """
    data = values["data"]
    return Crops(
        entries,
        window,
        seed=seed,
        voxel_nm=data["voxel_nm"],
        probabilities=data["probabilities"],
        pad=data["pad"],
        max_blank_tries=data["max_blank_tries"],
        **options,
    )


def make_batches(values: Mapping[str, Any], crops: Crops) -> Batches:
    """Makes this process's rows of the global batches."""
    data = values["data"]
    return Batches(
        crops,
        data["batch_size"],
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=data["num_threads"],
        prefetch_batches=data["prefetch_batches"],
    )


def check_disk(
    task: Task, config: ConfigDict, folder: epath.Path, mesh: Mesh, layers: Layers
) -> None:
    """Checks the space for checkpoints before anything is compiled, not only when the loop begins."""
    optimizer, _ = make_optimizer(config.optimizer, config.num_steps, layers)
    ema = config.optimizer.ema_decay > 0
    abstract = abstract_state(task, optimizer, seed=config.seed, ema=ema, mesh=mesh)
    check_space(folder, state_bytes(abstract), config.save.keep)
