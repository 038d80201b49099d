"""The target of docs/extending.md, as an installed distribution: a file, and a line of entry points."""

from __future__ import annotations

from pathlib import Path

from ..extending import read_blocks

_TARGET = read_blocks()["large_ids.py"]


def write_package(folder: Path) -> Path:
    """Writes the package and its entry points; the folder is one for `sys.path`."""
    (folder / "large_ids.py").write_text(_TARGET)
    info = folder / "large_ids-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: large_ids\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[emjax.targets]\nlarge_ids = large_ids:LargeIds\n")
    return folder
