"""What the job `view` shows: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from emjax.config import pick
from emjax.errors import InputError
from emjax.skeletons.unit import Unit
from emjax.volumes.address import local_path


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/view.py`, which says what each is."""

    volumes: str
    allow_incomplete: bool
    box: str
    png: str
    sections: str
    skeletons: str
    skeleton_unit: str
    serve: bool
    bind: str
    port: int
    seconds: float

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/view.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        settings = pick(cls, config)
        settings._check()
        return settings

    def _check(self) -> None:
        """Checks all fields before anything is opened."""
        if not 0 <= self.port <= 65535:
            raise InputError(f"port={self.port} must be 1 to 65535, or 0 for any that is free")
        if self.seconds < 0:
            raise InputError(f"seconds={self.seconds:g} must be 0 or more")
        Unit.parse(self.skeleton_unit, "skeleton_unit")
        if self.sections and not self.png:
            raise InputError(
                f"sections={self.sections} are of the picture; give --config.png=FILE.png, too"
            )
        if not self.png:
            return
        path = local_path(self.png)
        if path.suffix.lower() != ".png":
            raise InputError(f"png={self.png} must end in .png")
        if not path.parent.is_dir():
            raise InputError(f"png={self.png}: there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise InputError(f"png={self.png} is a folder; give a file in it")
        if self.skeletons and self.sections:
            raise InputError(
                f"sections={self.sections}: skeletons are drawn over the largest values along each axis; leave "
                "sections or skeletons out"
            )
