"""The part of each volume that is never trained on."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.data.heldout import hold_out
from emjax.data.source import Crops
from emjax.errors import InputError
from emjax.geometry.box import Box


def test_hold_out_by_hand(write, noise, open_plain) -> None:
    image = noise(8, 16, 40)
    entries = open_plain(f"{write('a', image)}|{write('l', image // 32)}")
    (training,), (held_out,) = hold_out(entries, 0.25, (1, 2, 4), (4, 8, 8))
    # x is 5 windows long, z and y 2; its last quarter is 30:40.
    assert held_out.image.box == held_out.labels.box == Box((0, 0, 30), (8, 16, 10))
    assert training.excluded == (Box((0, 0, 26), (8, 16, 14)),)
    np.testing.assert_array_equal(held_out.image.store.read().result(), image[..., 30:])
    np.testing.assert_array_equal(held_out.labels.store.read().result(), image[..., 30:] // 32)


def test_parts_never_meet(write, noise, open_plain) -> None:
    address = write("a", noise(8, 16, 64))
    entries = open_plain(f"{address}[:,:,4:]", exclude=f"{address}[:,:,50:53]")
    window = (4, 8, 8)
    starts = []
    for part in hold_out(entries, 0.5, (0, 0, 3), window):
        crops = Crops(part, window, seed=0)
        starts.append([int(crops.example(i)["start"][2]) for i in range(100)])
    training, held_out = starts
    # 60 voxels from 4 on: the last 30 start at 34, the margin at 31.
    assert min(training) >= 4
    assert max(training) + 8 <= 31
    assert min(held_out) >= 34
    assert not any(x < 53 and x + 8 > 50 for x in held_out)
    assert {x >= 53 for x in held_out} == {False, True}


def test_at_least_a_window_is_held_out(write, noise, open_plain) -> None:
    _, (held_out,) = hold_out(open_plain(write("a", noise(8, 16, 40))), 0.01, (0, 0, 0), (4, 8, 8))
    assert held_out.image.size == (8, 16, 8)


def test_mistakes(write, noise, open_plain) -> None:
    entries = open_plain(write("a", noise(8, 16, 20)))
    with pytest.raises(InputError, match=r"a is \(8, 16, 20\) voxels: too small.*eval.volumes"):
        hold_out(entries, 0.5, (0, 0, 4), (8, 16, 10))
    for fraction in (0, 1, -0.5):
        with pytest.raises(InputError, match="must be between 0 and 1"):
            hold_out(entries, fraction, (0, 0, 0), (4, 8, 8))
