"""Which sections a numbering leaves out, and where there is none."""

from __future__ import annotations

import random

import pytest

from emjax.volumes.read.numbering import natural_order, strangers, with_gaps


def _gaps(names: list[str]) -> list[str]:
    return [name for name, there in with_gaps(natural_order(names)) if not there]


@pytest.mark.parametrize(
    ("names", "gaps"),
    [
        # Padded and plain numbers, another start, a step of 50 nm.
        (["s08.png", "s09.png", "s11.png"], ["s10.png"]),
        (["s8.png", "s9.png", "s11.png"], ["s10.png"]),
        (["s0.png", "s2.png", "s3.png"], ["s1.png"]),
        (["z0.tif", "z50.tif", "z100.tif", "z200.tif"], ["z150.tif"]),
        (["0.png", "2.png", "4.png"], []),
        # The number that counts is the first that goes up, not the round of imaging or the day.
        (["r1_s1_d9.png", "r1_s2_d9.png", "r2_s4_d9.png"], ["r1_s3_d9.png"]),
        # Marks that are no numbering.
        (["a17.png", "a23.png", "a104.png", "a991.png"], []),
        (["first.png", "second.png"], []),
        (["a1.png", "a2b1.png", "a9.png"], []),
        # Each folder counts for itself.
        (["p1/0.png", "p1/1.png", "p5/0.png", "p5/1.png", "p5/3.png"], ["p5/2.png"]),
        (["7.png"], []),
    ],
)
def test_by_hand(names: list[str], gaps: list[str]) -> None:
    assert _gaps(names) == gaps


def test_sections_taken_out_of_a_numbering_are_found() -> None:
    draw = random.Random(0)
    for _ in range(50):
        first, count = draw.randrange(200), draw.randrange(10, 60)
        names = [f"x/{z}.png" for z in range(first, first + count)]
        lost = sorted(draw.sample(range(1, count - 1), 3))
        left = [name for z, name in enumerate(names) if z not in lost]
        draw.shuffle(left)
        assert _gaps(left) == [names[z] for z in lost]
        assert [name for name, _ in with_gaps(natural_order(left))] == names


@pytest.mark.parametrize(
    ("names", "gaps"),
    [
        # A minus is a sign only where names beside it have none.
        (["z-2.png", "z-1.png", "z0.png", "z2.png"], ["z1.png"]),
        (["z-4.png", "z-2.png", "z-1.png", "z0.png", "z1.png"], ["z-3.png"]),
        (["s-001.png", "s-002.png", "s-004.png"], ["s-003.png"]),
        # A number that begins anew with each round, and parts of other names.
        (["r1_s1", "r1_s2", "r1_s4", "r2_s1", "r2_s2", "r2_s3"], ["r1_s3"]),
        (["a1", "a2", "a4", "b1", "b2", "b3"], ["a3"]),
        # A file that is no section hides nothing.
        (["overview.png", "s0.png", "s1.png", "s2.png", "s4.png"], ["s3.png"]),
    ],
)
def test_gaps_in_names_of_several_kinds(names: list[str], gaps: list[str]) -> None:
    assert _gaps(names) == gaps


def test_negative_numbers_are_in_their_order() -> None:
    names = [f"z{number}.png" for number in range(-12, 13)]
    draw = random.Random(1)
    shuffled = draw.sample(names, len(names))
    assert natural_order(shuffled) == names
    # A separator is none.
    assert natural_order(["s-10", "s-2", "s-1"]) == ["s-1", "s-2", "s-10"]


@pytest.mark.parametrize(
    ("names", "strange"),
    [
        (["s0.png", "s1.png", "s2.png", "overview.png"], ["overview.png"]),
        (["s000.png", "s001.png", "s002.png", "s002_2.png"], ["s002_2.png"]),
        (["s0.png", "s0_x1.png", "s1.png", "s1_x1.png", "s2.png", "s2_x1.png"], 3),
        (["s1.png", "s01.png", "s2.png", "s3.png"], 1),
        (["s0.png", "s1.png", "s2.png"], []),
        (["first.png", "second.png", "third.png"], []),
        (["a1", "a2", "a3", "b1", "b2", "b3"], []),
        (["r1_s1", "r1_s2", "r1_s3", "r2_s1", "r2_s2", "r2_s3"], []),
    ],
)
def test_files_that_do_not_fit_the_numbering(names: list[str], strange: list[str] | int) -> None:
    found = strangers(natural_order(names))
    assert found == strange if isinstance(strange, list) else len(found) == strange
