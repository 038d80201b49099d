"""docs/architecture.md has all rooms, and answers its ten questions with places that exist."""

from __future__ import annotations

import re

from .pages import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_every_package_has_a_row():
    rows = re.findall(r"^\| `emjax/(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    packages = {path.parent.name for path in (ROOT / "emjax").glob("*/__init__.py")}
    assert {name for name, _ in rows} == packages
    assert all(len(text) > 10 for _, text in rows)


def test_ten_questions_each_name_a_place():
    """That the places exist is tested for all pages."""
    section = PAGE.split("## Where do I change ...?")[1].split("\n## ")[0]
    answers = re.split(r"^\d+\. ", section, flags=re.MULTILINE)[1:]
    assert len(answers) == 10
    for answer in answers:
        assert answer.startswith("**... ") and "?**" in answer
        assert re.search(r"`(emjax|configs|tests|launch)[./][\w./]+`", answer), answer


def test_places_where_state_lies_are_named_with_who_writes_them():
    section = PAGE.split("## Where state lies on disk")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) >= 8
    assert all("`emjax." in row[2] for row in rows)
