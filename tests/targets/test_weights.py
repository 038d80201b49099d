from __future__ import annotations

import pytest

from emjax.errors import InputError
from emjax.losses.weight_maps import WEIGHT_MAPS
from emjax.targets.language import parse_targets
from emjax.targets.weights import OF_LABELS, SIZES


def test_sizes_and_strengths_have_defaults():
    (target,) = parse_targets(
        "foreground?weights=border/3:10+small/50+class_ratio:0.5+dilated_ratio"
    )
    assert target.weights == (
        *(("border", 3.0, 10.0), ("small", 50.0, 1.0)),
        *(("class_ratio", 0.0, 0.5), ("dilated_ratio", 2.0, 1.0)),
    )


def test_every_name_is_a_map():
    assert set(SIZES) == set(WEIGHT_MAPS) and set(OF_LABELS) < set(SIZES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "foreground?weights=boarder",
            "no weights 'boarder' for this target; did you mean 'border'",
        ),
        ("distance?weights=class_ratio", "no weights 'class_ratio' for this target.*border"),
        ("foreground?weights=border+border", "weights border are given twice"),
        ("foreground?weights=border:0", "strength 0 of weights border must be above 0"),
        ("foreground?weights=border/-1", "size -1 of weights border must be above 0"),
        ("foreground?weights=border/x", "size of border: 'x' is no number"),
        ("foreground?weights=small/1.5", "size 1.5 of weights small must be whole"),
        ("foreground?weights=class_ratio/3", "class_ratio have no size"),
        ("foreground?erode=-1", "erode=-1 must be 0 or more"),
        ("foreground?dilate=-1", "dilate=-1 must be 0 or more"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(InputError, match=message):
        parse_targets(text)
