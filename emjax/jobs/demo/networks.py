"""The networks of the demo's stages, checked before the first is trained: a later stage must not refuse after hours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from emjax.config import plain, told_fields
from emjax.errors import InputError
from emjax.models.anisotropy import most_anisotropic
from emjax.models.build import build_backbone
from emjax.runs.spec import RunSpec
from emjax.train.inherited import inherit
from emjax.train.preparation import with_network
from emjax.volumes.address import parse_volumes
from emjax.volumes.store import open_volume


def check_networks(pretrain: ConfigDict, finetunes: Sequence[ConfigDict]) -> None:
    """Checks that the crops of every training fit its network, as the trainings themselves would.

    Args:
        pretrain: configuration of the pretraining.
        finetunes: those of the finetunings, with and without `init_from`.

    Raises:
        InputError: if they do not; says of which stage.
    """
    values = _completed(pretrain)
    spec = RunSpec(job="pretrain", config=values)
    _check("pretraining", values["model"], values["data"]["crop_size"])
    for config in finetunes:
        try:
            if config.init_from:
                found = inherit(plain(config), told_fields(config), spec, config.init_from)
                model, crop_size = found.model, found.crop_size
            else:
                values = _completed(config)
                model, crop_size = values["model"], values["data"]["crop_size"]
        except InputError as error:
            raise InputError(f"finetuning: {error}") from error
        _check("finetuning", model, crop_size)


def _completed(config: ConfigDict) -> dict[str, Any]:
    """Returns a configuration with the network that its volumes' voxels lead to."""
    entries = parse_volumes(config.data.volumes)
    sizes = [open_volume(entry.image).voxel_nm or () for entry in entries]
    return with_network(plain(config), most_anisotropic(sizes), told=told_fields(config))


def _check(stage: str, model: dict[str, Any], crop_size: Sequence[int]) -> None:
    try:
        build_backbone({**model, "out_channels": 1}).check_crop(tuple(crop_size))
    except InputError as error:
        raise InputError(f"{stage}: {error}") from error
