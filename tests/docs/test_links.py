"""Links of all pages lead somewhere."""

from __future__ import annotations

import pytest

from .pages import PAGES, ROOT, anchors, links


def _broken(page) -> list[str]:
    broken = []
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        fine = target.exists() and (not anchor or anchor in anchors(target))
        if not fine:
            broken.append(link)
    return broken


def test_there_are_pages_and_links():
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md", "launch/README.md"} <= names
    assert "docs/segmentation.md" in set(links(ROOT / "README.md"))


def test_anchors_are_those_of_titles(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `name`: what, why?\n\n## Twice\n\n## Twice\n\n```\n# no title\n```\n")
    assert anchors(page) == {"a-name-what-why", "twice", "twice-1"}


def test_what_is_broken_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# T\n[a](#t) [b](#u) [c](page.md#t) [d](gone.md) [e](https://x.y) `[f](g.md)`\n"
    )
    assert _broken(page) == ["#u", "gone.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert _broken(page) == []
