"""The pages of the project, as their tests read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for folder in (".", "docs", "benchmarks", "launch")
    for path in (ROOT / folder).glob("*.md")
)

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
_TITLE = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


def prose(page: Path) -> str:
    """Returns a page without its blocks of code."""
    return _FENCE.sub("", page.read_text())


def blocks(page: Path) -> list[str]:
    """Returns the blocks of code of a page, with their fences."""
    return [found.group() for found in _FENCE.finditer(page.read_text())]


def code(page: Path) -> list[str]:
    """Returns what stands in single backticks."""
    return _CODE.findall(prose(page))


def links(page: Path) -> Iterator[str]:
    """Yields the targets of links and pictures."""
    yield from _LINK.findall(_CODE.sub("", prose(page)))


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's titles, as hosts of repositories make them."""
    found: set[str] = set()
    for title in _TITLE.findall(prose(page)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while (name := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(name)
    return found


def undocumented(names: Iterable[str]) -> list[str]:
    """Returns those names of a results.json that docs/results_json.md does not list.

    There, `N` is a number, other words in capitals are any name, and `...` is any text.
    """
    page = (ROOT / "docs" / "results_json.md").read_text()
    cells = re.findall(r"^\| (`.+?) \|", page, re.MULTILINE)
    patterns = []
    for name in (name for cell in cells for name in _CODE.findall(cell)):
        pattern = re.sub(r"[A-Z]{2,}", r"\\w+", name.replace("...", r"\w*"))
        patterns.append(re.compile(re.sub("N", r"\\d+", pattern)))
    return [name for name in names if not any(p.fullmatch(name) for p in patterns)]
