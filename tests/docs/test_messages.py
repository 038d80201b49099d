"""Messages on the page for troubles are messages of the code, and names of results are those that it writes."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from .pages import ROOT, undocumented

_ROW = re.compile(r"^\| (`.+?) \|", re.MULTILINE)


@functools.cache
def _texts() -> str:
    """All texts in the code, one a line, as they are after Python has joined them; values are left out."""
    found = []
    for path in (ROOT / "emjax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "{}" for p in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


MESSAGES = [
    message
    for row in _ROW.findall((ROOT / "docs" / "troubleshooting.md").read_text())
    for message in re.findall(r"`([^`]+)`", row)
]


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_are_those_of_the_code(message):
    assert message in _texts()


def test_there_are_many_and_an_invented_one_is_found():
    assert len(MESSAGES) > 20 and "the moon is not full" not in _texts()


def test_names_of_results_are_told_from_others():
    names = [
        "voi",
        "ap_75_small",
        "val_loss_affinities_bce",
        "psnr_db_untrained",
        "variance_level12",
    ]
    assert undocumented([*names, "voy", "ap_x", "normalization_low_volume"]) == [
        *("voy", "ap_x", "normalization_low_volume"),
    ]
