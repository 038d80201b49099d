"""Boxes against numpy's own slicing."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.geometry.box import Box


def test_box_by_hand() -> None:
    box = Box.from_text("0:64,256:768,:", (100, 800, 50))
    assert box == Box((0, 256, 0), (64, 512, 50))
    assert box.stop == (64, 768, 50)
    assert box.volume == 64 * 512 * 50
    assert str(box) == "[0:64,256:768,0:50]"
    assert box.translate((1, -6, 0)) == Box((1, 250, 0), (64, 512, 50))
    assert Box((2, 2, 2), (4, 4, 4)).grow((1, 0, -1)) == Box((1, 2, 3), (6, 4, 2))
    assert Box((2, 2, 2), (4, 4, 4)).clip(Box((0, 0, 0), (3, 9, 9))) == Box((2, 2, 2), (1, 4, 4))


@pytest.mark.parametrize("text", ["0:4", "-3:,:5", "1:-1,2:3,:-4", "[2:, 1:6 ,-2:-1]", ":"])
def test_from_text_cuts_as_numpy_does(text: str) -> None:
    array = np.arange(7 * 8 * 9).reshape(7, 8, 9)
    bare = text.strip("[]")
    expected = eval(f"array[{bare}]", {"array": array})
    np.testing.assert_array_equal(array[Box.from_text(text, array.shape).slices], expected)


def test_text_round_trip() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        start = rng.integers(0, 20, 3)
        box = Box(tuple(map(int, start)), tuple(map(int, rng.integers(1, 20, 3))))
        assert Box.from_text(str(box), (40, 40, 40)) == box


def test_intersection_equals_that_of_masks() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        boxes, masks = [], []
        for _ in range(2):
            start, size = rng.integers(0, 6, 3), rng.integers(1, 5, 3)
            boxes.append(Box(tuple(map(int, start)), tuple(map(int, size))))
            masks.append(np.zeros((12, 12, 12), bool))
            masks[-1][boxes[-1].slices] = True
        one, other = boxes
        common = one.intersect(other)
        both = masks[0] & masks[1]
        assert (common.volume if common else 0) == both.sum()
        assert one.overlaps(other) == bool(both.any())
        assert one.contains(other) == bool((both == masks[1]).all())
        if common:
            assert both[common.slices].all()


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        ("0:11", r"z is 0:11 of 0:10.*\(10, 20, 30\)"),
        ("5:5", "empty"),
        (":,25:", "y is 25:20"),
        ("a:b", r"'a:b' is no range.*\[0:64,256:768,:\]"),
        (":,3,:", "'3' is no range"),
        (":,:,:,:", "4 ranges; give z, y, x"),
        ("0:8:2", "'0:8:2' is no range"),
    ],
)
def test_mistakes(text: str, helps: str) -> None:
    with pytest.raises(InputError, match=helps):
        Box.from_text(text, (10, 20, 30))
