"""Where a part runs, and on what."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all parts are told.

    Attributes:
        output: folder of the results; each part works in a folder of its own below it.
        quick: tiny networks on a CPU.
        volumes: folder with the labelled volumes, None where there are none.
    """

    output: Path
    quick: bool
    volumes: Path | None

    @property
    def device(self) -> str:
        """'gpu', or 'cpu' in a rehearsal."""
        return "cpu" if self.quick else "gpu"

    def device_kind(self) -> str:
        """Returns the name that JAX has for the first device."""
        import jax

        return jax.local_devices()[0].device_kind

    def folder(self, part: str) -> Path:
        """Returns a folder that only this part writes to."""
        return self.output / "work" / part

    def data(self, file: str) -> str:
        """Returns the path of a labelled volume.

        Raises:
            SystemExit: if it is not there.
        """
        found = sorted(self.volumes.rglob(file)) if self.volumes else []
        if not found:
            raise SystemExit(f"needs {file} in the folder of --data")
        return str(found[0])
