"""What the job `transfer` compares: its own fields as values that were checked; all others are of its trainings."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.errors import InputError
from emjax.jobs.transfer.arms import SCRATCH, Arm, parse_arms


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/transfer.py` that finetuning does not have; that file says what each is."""

    source: str
    family: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    frozen_batches: int
    resamples: int

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns the values that are the job's own.

        Args:
            config: as made by `configs/transfer.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = cls(
            source=config.source,
            family=config.family,
            arms=parse_arms(config.arms),
            seeds=tuple(config.seeds),
            frozen_batches=config.frozen_batches,
            resamples=config.resamples,
        )
        settings._check()
        return settings

    def _check(self) -> None:
        needs = [arm.name for arm in self.arms if arm.start != SCRATCH and not arm.weights]
        if needs and not self.source:
            raise InputError(
                f"source is empty, and the arm '{needs[0]}' starts from it; give --config.source=FILE or a run"
            )
        whole = all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in self.seeds)
        if not self.seeds or not whole or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds={self.seeds}: give different whole numbers of 0 or more")
        if self.frozen_batches < 0:
            raise InputError(
                f"frozen_batches={self.frozen_batches} must be 1 or more, or 0 for all"
            )
        if self.resamples < 1:
            raise InputError(f"resamples={self.resamples} must be 1 or more")
