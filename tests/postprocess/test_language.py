"""Chains of operations as text, and the table of the documentation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from emjax.errors import InputError
from emjax.postprocess.filters import Closing, Median
from emjax.postprocess.holes import Fill
from emjax.postprocess.language import OPERATIONS, parse_operations
from emjax.postprocess.sizes import SizeLimits


def test_a_chain_is_read_in_its_order():
    found = parse_operations("closing?radius=2&plane=true; fill;size?min_size=50;")
    assert found == (Closing(radius=2, plane=True), Fill(), SizeLimits(min_size=50))
    assert parse_operations("median?size=1/3/3") == (Median(size=(1, 3, 3)),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "operations is empty"),
        ("fil", "'fil' is unknown; did you mean 'fill'"),
        ("closing?radios=1", "closing: unknown setting 'radios'; did you mean 'radius'"),
        ("closing?radius=0", "closing: radius=0 must be 1 or more"),
        ("closing?radius", "is no NAME=VALUE"),
        ("median?size=3", "must be 3 numbers z/y/x"),
        ("link?overlap=2", "overlap=2.0 must be between 0 and 1"),
        ("median; fill", "median is of images and fill of labels"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(InputError, match=message):
        parse_operations(text)


def test_the_table_of_the_documentation():
    page = (Path(__file__).resolve().parents[2] / "docs" / "postprocess.md").read_text()

    def shown(value: object) -> str:
        return "/".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()

    for name, kind in OPERATIONS.items():
        options = ", ".join(f"`{f.name}` ({shown(f.default)})" for f in dataclasses.fields(kind))
        of = "images" if kind.of == "image" else "labels"
        assert f"| `{name}` | {of} | {options} | {kind.summary} |" in page
