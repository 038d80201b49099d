"""What the job `import_weights` reads, and as which network: its configuration as values that were checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from emjax.config import pick, plain
from emjax.errors import InputError
from emjax.jobs.import_weights.source import find_source

# What a configuration says where it says nothing, which is what every network that has such a field does by itself.
_UNSAID = {
    **{"slices": 1, "stem_fill": "average", "stem_scale": "none"},
    **{"kernel_depth": 1, "kernel_fill": "center"},
    **{"decoder_widths": [], "decoder_kernel": [1, 3, 3]},
    **{"section_stride": 1, "attend": "section", "position_grid": 0},
}


@dataclasses.dataclass(frozen=True)
class Refit:
    """On which images the statistics of normalizations are taken again.

    Attributes:
        volumes: addresses, separated by ';'; '': on none.
        passes: batches of crops of them.
    """

    volumes: str
    passes: int


@dataclasses.dataclass(frozen=True)
class Settings:
    """Fields of `configs/import_weights.py`, which says what each is.

    Attributes:
        source: the file or folder that is read.
        family: how it is laid out; '': found by its names.
        seed: of decoder and head.
        overwrite: whether a run of another configuration is replaced.
        model: the fields of the network that were given: not every network has all of them.
        refit: on which images the statistics of normalizations are taken again.
    """

    source: str
    family: str
    seed: int
    overwrite: bool
    model: Mapping[str, Any]
    refit: Refit

    @property
    def for_others(self) -> str:
        """Name of a field that was given and has no meaning for an export of emjax; '': there is none."""
        names = [f"model.{name}" for name in self.model]
        names += ["family"] if self.family else []
        names += ["refit.volumes"] if self.refit.volumes else []
        return names[0] if names else ""

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Checks a configuration, and returns its values.

        Args:
            config: as made by `configs/import_weights.py`.

        Raises:
            InputError: naming a field that cannot work.
        """
        if not config.source:
            raise InputError("source is empty; give --config.source=FILE")
        if not 0 <= config.seed < 2**32:
            raise InputError(f"seed={config.seed} must be 0 or more, and below 2**32")
        given = plain(config.model)
        model = {name: value for name, value in given.items() if _UNSAID.get(name) != value}
        if model.get("position_grid", 1) < 1:
            raise InputError(
                f"model.position_grid={model['position_grid']} must be 1 or more, or 0: as in the file"
            )
        if config.refit.passes < 1:
            raise InputError(f"refit.passes={config.refit.passes} must be 1 or more")
        refit = pick(Refit, config.refit)
        return pick(cls, config, source=find_source(config.source), model=model, refit=refit)
