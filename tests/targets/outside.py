"""A target of another package, as an installed distribution: a file, and a line of entry points."""

from __future__ import annotations

from pathlib import Path

_TARGET = '''"""Voxels whose id is large, a target that emjax does not have."""

import dataclasses

import jax.numpy as jnp

from emjax.targets.labels import as_channel
from emjax.targets.metrics import F1
from emjax.targets.options import Losses
from emjax.targets.target import Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class LargeIds(Target):
    losses: Losses = (("bce", 1.0),)
    least: int = 2

    kind = "large_ids"
    metric = F1("large_ids_f1")

    def make(self, labels, voxel_nm=None):
        return as_channel(labels >= self.least), as_channel(labels >= 0)
'''


def write_package(folder: Path) -> Path:
    """Writes the package and its entry points; the folder is one for `sys.path`."""
    (folder / "large_ids.py").write_text(_TARGET)
    info = folder / "large_ids-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: large_ids\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[emjax.targets]\nlarge_ids = large_ids:LargeIds\n")
    return folder
