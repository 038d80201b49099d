"""What the job `suggest` chooses from, and how: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import check_triple, pick
from emjax.errors import InputError
from emjax.volume_config import VolumeSettings


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/suggest.py`, which says what each is; `shared` are those of all jobs on volumes."""

    shared: VolumeSettings
    input: str
    checkpoint: str
    prediction: str
    features: str
    labelled: str
    budget: int
    size: tuple[int, ...]
    share: float
    windows: int
    labels: str
    suspects: int
    suspect_size: tuple[int, ...]
    suspect_least: float
    suspect_thickness: int
    curve: str
    curve_score: str
    target_score: float

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/suggest.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config, shared=VolumeSettings.from_config(config))
        settings._check_given()
        settings._check_numbers()
        return settings

    def _check_given(self) -> None:
        if not self.input and not self.curve:
            raise InputError(
                "input is empty; give --config.input=IMAGES to choose places of, or --config.curve='1=RUN; 2=RUN; ...' "
                "to learn what more labels would bring"
            )
        if self.input and not self.checkpoint and not self.prediction:
            raise InputError(
                "checkpoint is empty; give --config.checkpoint=RUN of a finetuning, whose uncertainty decides"
            )
        if self.input and not self.checkpoint and not self.features:
            raise InputError(
                "prediction alone says nothing of kinds of tissue; give --config.checkpoint=RUN or "
                "--config.features=RUN, too"
            )
        if not self.input:
            for name in ("checkpoint", "prediction", "features", "labelled", "labels"):
                if getattr(self, name):
                    raise InputError(
                        f"{name}={getattr(self, name)} has no effect without input; give --config.input=IMAGES"
                    )
        if self.labels and not self.checkpoint:
            raise InputError(
                "labels can only be doubted by a network whose targets are known; give --config.checkpoint=RUN"
            )
        if self.target_score and not self.curve:
            raise InputError(
                "target_score has no effect without --config.curve='AMOUNT=RUN; AMOUNT=RUN; ...'"
            )
        for name in ("halo", "block_size"):
            if getattr(self.shared, name):
                raise InputError(
                    f"{name}={getattr(self.shared, name)}: blocks follow from size; leave it out"
                )
        if self.shared.cluster:
            raise InputError(
                f"cluster={self.shared.cluster}: a network works on the blocks, on the devices of this process; leave "
                "it out, or predict with several processes first and give --config.prediction=ADDRESS"
            )

    def _check_numbers(self) -> None:
        for name in ("budget", "windows", "suspects", "suspect_thickness"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: must be at least 1")
        for name in ("share", "suspect_least"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)}: must be in (0, 1]")
        check_triple("suspect_size", self.suspect_size, "voxels")
