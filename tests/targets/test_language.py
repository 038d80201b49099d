from __future__ import annotations

import pytest

from emjax.errors import InputError
from emjax.targets.affinities import Affinities
from emjax.targets.classes import Classes
from emjax.targets.contour import Contour
from emjax.targets.distance import Distance
from emjax.targets.foreground import Foreground
from emjax.targets.language import TARGETS, parse_targets
from emjax.targets.offsets import LONG_RANGE, NEAREST
from emjax.targets.signed_distance import SignedDistance

from ..extending import write_package


def test_all_options():
    text = """
        affinities?offsets=-1,0,0/0,-1,0/0,0,-9&losses=balanced_bce:1+dice:0.5;
        foreground?ids=1,3&losses=focal; contour?thickness=2&edges=touching&plane=false;
        distance?plane=true&losses=l1:2; signed_distance?inside=4&outside=20.5; classes?ids=0,2,1;
    """
    assert parse_targets(text) == (
        Affinities(
            offsets=((-1, 0, 0), (0, -1, 0), (0, 0, -9)),
            losses=(("balanced_bce", 1.0), ("dice", 0.5)),
        ),
        Foreground(ids=(1, 3), losses=(("focal", 1.0),)),
        Contour(thickness=2, edges="touching", plane=False),
        Distance(plane=True, losses=(("l1", 2.0),)),
        SignedDistance(inside=4.0, outside=20.5),
        Classes(ids=(0, 2, 1)),
    )


def test_names_alone_take_defaults():
    assert parse_targets("contour; affinities") == (Contour(), Affinities(offsets=NEAREST))


def test_sets_of_offsets_have_names():
    assert parse_targets("affinities?offsets=nearest")[0].offsets == NEAREST
    assert parse_targets("affinities?offsets=long")[0].offsets == LONG_RANGE


def test_the_same_text_is_the_same_target():
    text = "affinities?offsets=long; foreground"
    assert hash(parse_targets(text)) == hash(parse_targets(text.replace("; ", ";")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "targets is empty"),
        (" ; ", "targets is empty"),
        ("afinities", "unknown target 'afinities'; did you mean 'affinities'"),
        ("contour?thick=2", "contour: unknown option 'thick'; did you mean 'thickness'"),
        ("affinities?joins=nearest", "unknown option 'joins'"),
        ("contour?thickness=two", "contour: thickness: 'two' is no whole number"),
        ("contour?thickness=1.5", "'1.5' is no whole number"),
        ("contour?thickness", "option 'thickness' has no value"),
        ("contour?thickness=", "option 'thickness=' has no value"),
        ("contour?thickness=1&thickness=2", "'thickness' is given twice"),
        ("contour?plane=yes", "'yes' is neither true nor false"),
        ("contour?edges=al", "edges=al is unknown; did you mean 'all'"),
        ("contour?", None),
        ("signed_distance?inside=x", "'x' is no number"),
        ("signed_distance?inside=nan", "inside=nan must be above 0"),
        ("foreground?losses=bec:1", "no loss 'bec' for this target; did you mean 'bce'"),
        ("foreground?losses=bce:", "weight of bce: '' is no number"),
        ("foreground?losses=bce:-1", "weight -1 of loss bce"),
        ("foreground?losses=bce:1++dice", "no loss ''"),
        ("foreground?ids=1,,2", "'' is no whole number"),
        ("affinities?offsets=0,0,1", "offset 0,0,1 is positive.*0,0,-1"),
        ("affinities?offsets=-1,0", "offset -1,0 has 2 numbers"),
        ("affinities?offsets=-1,0,0/", "'' is no whole number"),
        ("affinities?offsets=longest", "no set of offsets 'longest'; did you mean 'long'"),
        ("classes", "classes: ids is missing"),
        ("foreground; foreground?ids=2", "'foreground' is given twice"),
    ],
)
def test_every_mistake_is_one_line_that_helps(text, message):
    if message is None:
        assert parse_targets(text) == (Contour(),)
        return
    with pytest.raises(InputError, match=message) as raised:
        parse_targets(text)
    assert "\n" not in str(raised.value)


def test_every_kind_can_be_written():
    for name in TARGETS:
        text = f"{name}?ids=0,1" if name == "classes" else name
        assert parse_targets(text)[0].kind == name


def test_a_target_of_an_installed_package_is_one_file_and_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(write_package(tmp_path)))
    assert "large_ids" in set(TARGETS) - set(TARGETS.own_names)
    (target,) = parse_targets("large_ids?least=5&losses=dice:2")
    assert (target.least, target.losses, target.names) == (5, (("dice", 2.0),), ("large_ids",))
    with pytest.raises(InputError, match="large_ids: least: 'x' is no whole number"):
        parse_targets("large_ids?least=x")
    with pytest.raises(InputError, match="large_ids: unknown option 'lest'; did you mean 'least'"):
        parse_targets("large_ids?lest=5")


def test_a_package_that_calls_a_target_otherwise_than_the_target_itself(tmp_path, monkeypatch):
    folder = write_package(tmp_path)
    entry = folder / "toys-1.0.dist-info" / "entry_points.txt"
    entry.write_text(entry.read_text().replace("large_ids = ", "huge_ids = "))
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(
        InputError, match="'huge_ids' is large_ids:LargeIds, which calls itself 'large_ids'"
    ):
        parse_targets("huge_ids")
