from __future__ import annotations

import numpy as np
import pytest

from emjax.pictures.scale_bar import round_length, show_length, with_scale_bar


@pytest.mark.parametrize(("most", "length"), [(999, 500), (1000, 1000), (39, 20), (0.7, 0.5)])
def test_round_lengths(most, length):
    assert round_length(most) == pytest.approx(length)


def test_units():
    assert [show_length(nm) for nm in (0.5, 200, 5000, 2e6)] == ["0.5 nm", "200 nm", "5 µm", "2 mm"]


def test_the_bar_is_as_long_as_it_says():
    picture = np.full((200, 300, 3), 120, np.uint8)
    # A panel of 300 pixels of 10 nm: the bar is at most 35 % of 3 µm, so 1 µm.
    drawn = with_scale_bar(picture, 10.0, (200, 0), 300)
    bar = (drawn == 255).all(axis=2).sum(axis=1)
    assert (bar == 100).sum() == 4
    assert (drawn[:170] == 120).all() and (picture == 120).all()
    assert with_scale_bar(picture, None, (200, 0), 300) is picture
