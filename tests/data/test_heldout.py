"""The part of each volume that is never trained on, and how many of its sections are."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.data.heldout import hold_out, limit_labels
from emjax.data.source import Crops
from emjax.errors import InputError
from emjax.geometry.box import Box


def test_hold_out_by_hand(write, noise, open_plain) -> None:
    image = noise(8, 16, 40)
    entries = open_plain(f"{write('a', image)}|{write('l', image // 32)}")
    (training,), (held_out,) = hold_out(entries, 0.25, (1, 2, 4), (4, 8, 8))
    # x is 5 windows long, z and y 2; its last quarter is 30:40.
    assert held_out.image.box == held_out.labels.box == Box((0, 0, 30), (8, 16, 10))
    assert training.image.box == training.labels.box == Box((0, 0, 0), (8, 16, 26))
    assert training.normalization == entries[0].normalization
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
    with pytest.raises(InputError, match="held_out_axis='w' must be z, y or x"):
        hold_out(entries, 0.5, (0, 0, 0), (4, 8, 8), "w")


def test_the_axis_can_be_chosen_and_mirrored(write, noise, open_plain) -> None:
    entries = open_plain(write("a", noise(8, 16, 40)))
    (training,), (held_out,) = hold_out(entries, 0.25, (1, 0, 0), (6, 8, 8), "z", pad="reflect")
    assert training.image.box == Box((0, 0, 0), (5, 16, 40))
    assert held_out.image.box == Box((6, 0, 0), (2, 16, 40))
    window = Crops([held_out], (6, 8, 8), seed=0, pad="reflect").example(0)["image"]
    assert window.shape == (6, 8, 8)
    with pytest.raises(InputError, match="too small"):
        hold_out(entries, 0.25, (1, 0, 0), (6, 8, 8), "z")


@pytest.mark.parametrize(
    ("fraction", "sections", "kept"),
    [(1.0, 0, 8), (1.0, 3, 3), (0.5, 0, 4), (0.5, 6, 4), (0.01, 0, 1)],
)
def test_label_budget_keeps_the_first_sections(write, noise, open_plain, fraction, sections, kept):
    image = noise(10, 16, 24)
    entries = open_plain(f"{write('a', image)}[2:]|{write('l', image // 32)}[2:]")
    (entry,) = limit_labels(entries, fraction, sections)
    assert entry.image.box == entry.labels.box == Box((2, 0, 0), (kept, 16, 24))


def test_a_budget_above_what_there_is_is_refused(write, noise, open_plain) -> None:
    with pytest.raises(InputError, match="label_sections=9: .*a has 8 sections to train on"):
        limit_labels(open_plain(write("a", noise(8, 16, 24))), 1.0, 9)
