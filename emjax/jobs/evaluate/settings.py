"""How the job `evaluate` scores: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import nearest, pick
from emjax.errors import InputError
from emjax.skeletons.unit import Unit
from emjax.volume_config import VolumeSettings

TREES = "trees"
KINDS = ("instances", "semantic", "clefts", TREES)
# Fields that mean nothing between trees, and those that mean something there alone, with their values then.
_NOT_OF_TREES = {
    **{"mask": "", "resample": False, "background_ids": (0,), "ignore_ids": (), "skeletons": ""},
    **{"score_background": False, "skeleton_merge_points": 1},
}
_OF_TREES = {"tree_step": 1.0, "tree_different": 2.0, "tree_tolerance": 4.0}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/evaluate.py`, which says what each is; `shared` are those of all jobs on volumes."""

    shared: VolumeSettings
    segmentation: str
    labels: str
    image: str
    mask: str
    resample: bool
    kind: str
    background_ids: tuple[int, ...]
    ignore_ids: tuple[int, ...]
    score_background: bool
    boundary_tolerance: float
    cremi_border_nm: float
    skeletons: str
    skeleton_unit: str
    skeleton_merge_points: int
    tree_step: float
    tree_different: float
    tree_tolerance: float

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/evaluate.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        alone = config.skeletons and config.kind != TREES
        needed = ("segmentation",) if alone else ("segmentation", "labels")
        settings = pick(cls, config, shared=VolumeSettings.from_config(config, *needed))
        settings._check()
        return settings

    @property
    def unit(self) -> Unit:
        """Unit of the skeletons."""
        return Unit.parse(self.skeleton_unit, "skeleton_unit")

    def _check(self) -> None:
        """Checks the fields that are this job's own."""
        if self.kind not in KINDS:
            raise InputError(f"kind='{self.kind}' is unknown{nearest(self.kind, KINDS)}")
        self._check_trees()
        if self.shared.halo:
            raise InputError(
                f"halo={self.shared.halo}: evaluation reads what its scores need; leave it out"
            )
        if self.boundary_tolerance < 0:
            raise InputError(
                f"boundary_tolerance={self.boundary_tolerance} must be 0 or more voxels"
            )
        if self.cremi_border_nm < 0:
            raise InputError(f"cremi_border_nm={self.cremi_border_nm} must be 0 or more nm")
        Unit.parse(self.skeleton_unit, "skeleton_unit")
        if self.skeleton_merge_points < 1:
            raise InputError(
                f"skeleton_merge_points={self.skeleton_merge_points} must be 1 or more"
            )

    def _check_trees(self) -> None:
        """Refuses fields that mean nothing for this kind, and values of those of trees that cannot work."""
        trees = self.kind == TREES
        for name, value in (_NOT_OF_TREES if trees else _OF_TREES).items():
            if getattr(self, name) != value:
                what = "nothing between trees" if trees else "something with kind=trees alone"
                raise InputError(f"{name}={getattr(self, name)} means {what}; leave it out")
        if trees and (self.shared.box or self.shared.block_size or self.shared.cluster):
            raise InputError(
                "box, block_size and cluster mean nothing between trees; leave them out"
            )
        for name in ("tree_step", "tree_different", "tree_tolerance"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name):g} must be above 0 voxels")
