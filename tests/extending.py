"""The examples of docs/extending.md as an installed package: its named code blocks, and its entry points."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"

# An opening fence with a file name behind the language, the text, and the closing fence.
_NAMED = re.compile(r"^```[a-z]+ (?P<name>[\w./-]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def read_blocks(page: Path = PAGE) -> dict[str, str]:
    """Returns the named code blocks of a page: file name -> text; blocks of one name follow each other."""
    found: dict[str, str] = {}
    for block in _NAMED.finditer(page.read_text()):
        name = block["name"]
        found[name] = "\n".join((found[name], block["text"])) if name in found else block["text"]
    return found


def write_package(folder: Path, page: Path = PAGE) -> Path:
    """Writes the files of a page, and what makes Python believe that they are an installed package.

    Args:
        folder: exists; files of earlier calls are replaced.
        page: with the entry points in the blocks called `pyproject.toml`.

    Returns:
        The folder, for `sys.path` or PYTHONPATH.
    """
    blocks = read_blocks(page)
    groups = tomllib.loads(blocks.pop("pyproject.toml"))["project"]["entry-points"]
    for name, text in blocks.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    info = folder / "toys-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "\n".join(
            "\n".join((f"[{group}]", *(f"{name} = {place}" for name, place in points.items())))
            for group, points in groups.items()
        )
    )
    return folder
