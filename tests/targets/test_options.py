"""Options are read by the types of their fields, and what no text can be fails when the class is defined."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import pytest

from emjax.errors import InputError
from emjax.targets.metrics import F1
from emjax.targets.offsets import NEAREST, Offset
from emjax.targets.options import Losses, readers_of
from emjax.targets.target import Target


@dataclasses.dataclass(frozen=True)
class _All:
    count: int = 1
    sigma: float = 1.0
    plane: bool = True
    name: str = "a"
    mode: Literal["fast", "exact"] = "fast"
    ids: tuple[int, ...] = ()
    levels: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    sigmas: tuple[float, float, float] = (1.0, 1.0, 1.0)
    joins: tuple[Offset, ...] = NEAREST
    losses: Losses = ()
    kind: ClassVar[str] = "all"


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("count", "3", 3),
        ("sigma", "0.5", 0.5),
        ("plane", "false", False),
        ("name", "fast", "fast"),
        ("mode", "exact", "exact"),
        ("ids", "3, 1", (3, 1)),
        ("levels", "0.5,1", (0.5, 1.0)),
        ("words", "a,b", ("a", "b")),
        ("sigmas", "1,2,3", (1.0, 2.0, 3.0)),
        ("joins", "-1,0,0/0,-2,0", ((-1, 0, 0), (0, -2, 0))),
        ("joins", "nearest", NEAREST),
        ("losses", "bce+dice:0.5", (("bce", 1.0), ("dice", 0.5))),
    ],
)
def test_every_type_that_is_listed(option, text, value):
    assert readers_of(_All)[option]("here", text) == value


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("mode", "exat", "here=exat is unknown; did you mean 'exact'"),
        ("sigmas", "1,2", "here: '1,2' has 2 values; give 3"),
        ("levels", "1,x", "here: 'x' is no number"),
    ],
)
def test_what_cannot_be_read(option, text, message):
    with pytest.raises(InputError, match=message):
        readers_of(_All)[option]("here", text)


def test_class_variables_are_no_options():
    assert "kind" not in readers_of(_All)


@pytest.mark.parametrize("kind", [dict, Any, tuple[dict, ...], tuple[int, str], list[int]])
def test_a_type_that_no_text_can_be_fails_when_the_class_is_defined(kind):
    with pytest.raises(TypeError, match=r"Toy\.extra is annotated as .*which no text can be read"):
        type(
            "Toy",
            (Target,),
            {"__annotations__": {"extra": kind}, "kind": "toy", "metric": F1("f1")},
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"Toy\.metric must be an object of emjax\.targets\.metrics, such as F1\('toy_f1'\)"),
        ({"metric": "toy_iou"}, r"Toy\.metric must be an object"),
        ({"metric": F1("f1"), "activation": "sigmod"}, "did you mean 'sigmoid'"),
        (
            {"metric": F1("f1"), "reads": "label"},
            "Toy.reads='label' is unknown; did you mean 'labels'",
        ),
    ],
)
def test_a_target_that_names_what_is_unknown_fails_when_it_is_defined(given, message):
    with pytest.raises(TypeError, match=message):
        type("Toy", (Target,), {"kind": "toy", **given})
