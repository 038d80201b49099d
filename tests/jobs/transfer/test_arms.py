"""The language of arms, and what each does to the network."""

from __future__ import annotations

import pytest

from emjax.errors import InputError
from emjax.jobs.transfer.arms import parse_arms


def test_arms_and_their_networks():
    scratch, plane, average, frozen, own = parse_arms(
        "scratch, 2d,average,center+frozen,own=runs/a+frozen"
    )
    assert [arm.folder for arm in (scratch, plane, frozen, own)] == [
        *("scratch", "2d", "center_frozen", "own_frozen")
    ]
    assert (frozen.start, frozen.frozen, frozen.weights) == ("center", True, "")
    assert (own.start, own.frozen, own.weights, own.title) == (
        *("source", True, "runs/a", "own+frozen"),
    )
    model = {"slices": 3, "kernel_depth": 3, "stem_fill": "rgb", "kernel_fill": "center"}
    assert plane.model(model) == {**model, "slices": 1, "kernel_depth": 1, "stem_fill": "average"}
    assert average.model(model) == {**model, "stem_fill": "average", "kernel_fill": "average"}
    assert scratch.model(model) == model == own.model(model)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scratch,centre", "arms: 'centre' is unknown; did you mean 'center'"),
        ("center,center", "arms: 'center' is there twice"),
        ("own=", "arms: 'own=' is not NAME=WEIGHTS"),
        ("2d=runs/a", "arms: '2d=runs/a' is not NAME=WEIGHTS with a name of its own"),
    ],
)
def test_mistakes(text, words):
    with pytest.raises(InputError, match=f"^{words}"):
        parse_arms(text)
