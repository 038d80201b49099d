"""A method of another package, as an installed distribution: a file, and a line of entry points."""

from __future__ import annotations

from pathlib import Path

_METHOD = '''"""Every section of the foreground is an object, a method that emjax does not have."""

import dataclasses

import numpy as np

from emjax.segmentation.method import Method, has
from emjax.segmentation.settings import SizeSettings, number


@dataclasses.dataclass(frozen=True, kw_only=True)
class SectionSettings(SizeSettings):
    """Attributes:
    above: objects have more foreground.
    """

    above: float = number(0.5, 0, 1, grid=(0.3, 0.5))


def _fragments(prediction, settings):
    ids = np.arange(1, prediction.shape[0] + 1, dtype=np.uint64)[:, None, None]
    return np.where(prediction.channel("slices") > settings.above, ids, np.uint64(0))


METHOD = Method(
    summary="each section is an object",
    settings=SectionSettings,
    needs="'slices'",
    fits=has("slices"),
    fragments=_fragments,
)
'''


def write_package(folder: Path) -> Path:
    """Writes the package and its entry points; the folder is one for `sys.path`."""
    (folder / "each_section.py").write_text(_METHOD)
    info = folder / "each_section-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: each_section\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[emjax.methods]\nsections = each_section:METHOD\n")
    return folder
