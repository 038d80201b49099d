"""Which sections a numbering leaves out, and where there is none."""

from __future__ import annotations

import random

import pytest

from emjax.volumes.read.numbering import natural_order, with_gaps


def _gaps(names: list[str]) -> list[str]:
    return [name for name, there in with_gaps(natural_order(names)) if not there]


@pytest.mark.parametrize(
    ("names", "gaps"),
    [
        # Padded and plain numbers, another start, a step of 50 nm.
        (["s08.png", "s09.png", "s11.png"], ["s10.png"]),
        (["s8.png", "s9.png", "s11.png"], ["s10.png"]),
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
