"""The networks of the demo's stages, checked before the first is trained: a later stage must not refuse after hours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from emjax.errors import InputError
from emjax.models.anisotropy import most_anisotropic
from emjax.models.build import build_backbone
from emjax.runs.spec import RunSpec
from emjax.train.inherited import inherit
from emjax.train.preparation import with_network
from emjax.volumes.address import parse_volumes
from emjax.volumes.store import open_volume


class Asked(NamedTuple):
    """What a training is asked for.

    Attributes:
        values: its complete configuration, as plain dicts.
        told: dotted names of the fields that a user chose.
    """

    values: Mapping[str, Any]
    told: Collection[str]


def check_networks(pretrain: Asked, finetunes: Sequence[Asked]) -> None:
    """Checks that the crops of every training fit its network, as the trainings themselves would.

    Args:
        pretrain: the pretraining.
        finetunes: the finetunings, with and without `init_from`.

    Raises:
        InputError: if they do not; says of which stage.
    """
    values = _completed(pretrain)
    spec = RunSpec(job="pretrain", config=values)
    _check("pretraining", values["model"], values["data"]["crop_size"])
    for asked in finetunes:
        try:
            if asked.values["init_from"]:
                found = inherit(asked.values, asked.told, spec, asked.values["init_from"])
                model, crop_size = found.model, found.crop_size
            else:
                values = _completed(asked)
                model, crop_size = values["model"], values["data"]["crop_size"]
        except InputError as error:
            raise InputError(f"finetuning: {error}") from error
        _check("finetuning", model, crop_size)


def _completed(asked: Asked) -> dict[str, Any]:
    """Returns a configuration with the network that its volumes' voxels lead to."""
    entries = parse_volumes(asked.values["data"]["volumes"])
    sizes = [open_volume(entry.image).voxel_nm or () for entry in entries]
    return with_network(asked.values, most_anisotropic(sizes), told=asked.told)


def _check(stage: str, model: dict[str, Any], crop_size: Sequence[int]) -> None:
    try:
        build_backbone({**model, "out_channels": 1}).check_crop(tuple(crop_size))
    except InputError as error:
        raise InputError(f"{stage}: {error}") from error
