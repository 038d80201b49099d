"""Trees are drawn where they lie in the image."""

from __future__ import annotations

import numpy as np

from emjax.pictures.trees import draw_trees


def _green(picture: np.ndarray) -> np.ndarray:
    red, green, blue = (picture[..., i].astype(int) for i in range(3))
    return np.argwhere((green > red + 40) & (green > blue + 40))


def test_a_line_lies_over_the_bright_row():
    image = np.zeros((4, 20, 40), np.uint8)
    image[2, 15, 5:35] = 255
    line = np.asarray([[[2, 15, 5], [2, 15, 34]]], float)
    sides = [image.max(axis=a) for a in range(3)]
    empty = np.zeros((0, 2, 3))
    picture = draw_trees(sides, {"tracing": empty, "truth": line}, (2.0, 1.0, 1.0))
    rows = _green(picture)
    rows = rows[rows[:, 0] > 60]
    # 48 units along x and 28 along y are shown; the row is at 15.5 of these, and at 2.5 of 4 sections below.
    per = picture.shape[1] / 48
    body = picture.shape[0] - 28 * per
    seen = np.unique(np.round((rows[:, 0] - body) / per))
    assert {15.0, 25.0} <= set(seen) | set(seen + 1) | set(seen - 1)
    assert (rows[:, 1] < 46 * per).all()


def test_one_section_is_one_view():
    sides = [np.zeros((30, 60)), np.zeros((1, 60)), np.zeros((1, 30))]
    picture = draw_trees(sides, {"a": np.zeros((1, 2, 3))})
    assert picture.shape[1] > 1.7 * (picture.shape[0] - 60)
