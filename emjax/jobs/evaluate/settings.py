"""How the job `evaluate` scores: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from emjax.config import nearest
from emjax.errors import InputError
from emjax.volume_config import validate_volume_config

KINDS = ("instances", "semantic", "clefts")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/evaluate.py`, which says what each is; those of running blocks are not among them."""

    segmentation: str
    labels: str
    image: str
    mask: str
    allow_incomplete: bool
    box: str
    block_size: tuple[int, ...]
    kind: str
    background_ids: tuple[int, ...]
    ignore_ids: tuple[int, ...]
    score_background: bool
    boundary_tolerance: float
    cremi_border_nm: float
    skeletons: str
    skeleton_unit_nm: float
    skeleton_merge_points: int

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/evaluate.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        needed = ("segmentation",) if config.skeletons else ("segmentation", "labels")
        validate_volume_config(config, needed)
        _check(config)
        given = {field.name: config[field.name] for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, tuple | list) else value
            for name, value in given.items()
        }
        return cls(**values)


def _check(config: ConfigDict) -> None:
    """Checks the fields that are this job's own."""
    if config.kind not in KINDS:
        raise InputError(f"kind='{config.kind}' is unknown{nearest(config.kind, KINDS)}")
    if len(config.halo):
        raise InputError(
            f"halo={tuple(config.halo)}: evaluation reads what its scores need; leave it out"
        )
    if config.boundary_tolerance < 0:
        raise InputError(f"boundary_tolerance={config.boundary_tolerance} must be 0 or more voxels")
    if config.cremi_border_nm < 0:
        raise InputError(f"cremi_border_nm={config.cremi_border_nm} must be 0 or more nm")
    if config.skeleton_unit_nm <= 0:
        raise InputError(f"skeleton_unit_nm={config.skeleton_unit_nm} must be above 0 nm")
    if config.skeleton_merge_points < 1:
        raise InputError(f"skeleton_merge_points={config.skeleton_merge_points} must be 1 or more")
