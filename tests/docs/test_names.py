"""What pages name is there: files of the repository, and names of the package."""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import Any

import pytest

from .pages import PAGES, ROOT, blocks, code

_PATH = re.compile(r"(?<![\w./-])(?:emjax|tests|configs|docs|launch|benchmarks|typings)/[\w./-]*")
_NAME = re.compile(r"(?<![\w./-])emjax(?:\.[A-Za-z_]\w*)+")
# Groups of entry points, which only look like modules.
_GROUPS = {
    f"emjax.{group}"
    for group in (
        "networks",
        "network_presets",
        "targets",
        "methods",
        "formats",
        "jobs",
        "trackers",
    )
}
# History, and examples of files that a reader makes.
_LEFT_OUT = ("CHANGELOG.md",)
CHECKED = [page for page in PAGES if page.name not in _LEFT_OUT]


def _resolve(name: str) -> Any:
    """Imports the longest part of a dotted name that is a module, and takes attributes from there.

    Raises:
        AttributeError: if there is no such name.
    """
    parts = name.split(".")
    found: Any = importlib.import_module(parts[0])
    for depth, part in enumerate(parts[1:], 2):
        try:
            found = getattr(found, part)
        except AttributeError:
            fields = dataclasses.fields(found) if dataclasses.is_dataclass(found) else ()
            if part in {field.name for field in fields}:
                return None
            try:
                found = importlib.import_module(".".join(parts[:depth]))
            except ModuleNotFoundError:
                raise AttributeError(name) from None
    return found


def _names(page) -> set[str]:
    return {name for text in code(page) for name in _NAME.findall(text)} - _GROUPS


def _paths(page) -> set[str]:
    # What is written from scratch in a block with a name is no file of ours.
    texts = [*code(page), *blocks(page)]
    return {path.rstrip("./") for text in texts for path in _PATH.findall(text)}


def test_names_resolve_to_modules_attributes_and_fields():
    assert _resolve("emjax.geometry.box.Box.between")
    assert _resolve("emjax.runs.spec.RunSpec.job") is None
    with pytest.raises(AttributeError):
        _resolve("emjax.geometry.box.Ball")
    with pytest.raises(AttributeError):
        _resolve("emjax.geometry.spheres")


def test_architecture_names_much():
    page = ROOT / "docs" / "architecture.md"
    assert len(_names(page)) > 40 and len(_paths(page)) > 20


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_the_package_exist(page):
    missing = []
    for name in sorted(_names(page)):
        try:
            _resolve(name)
        except AttributeError:
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_repository_exist(page):
    assert [path for path in sorted(_paths(page)) if not (ROOT / path).exists()] == []
