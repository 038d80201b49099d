"""Candidates cover a volume once, and their blocks hold whole ones."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.annotation.candidates import Candidates, windows_in
from emjax.errors import InputError
from emjax.geometry.box import Box

OUTER = Box((2, 0, 0), (9, 70, 64))


@pytest.mark.parametrize("size", [(4, 16, 16), (1, 0, 0), (0, 7, 9), (2, 9, 9)])
def test_blocks_hold_every_candidate_once(size):
    candidates = Candidates.covering(OUTER, size, "size")
    found = [c for block in candidates.blocks for c in candidates.within(block)]
    assert sorted(c.index for c in found) == list(range(len(candidates.grid)))
    assert all(c.core == candidates.grid[c.index].core for c in found)
    assert {c.core.size for c in found} == {candidates.size}
    assert all(OUTER.contains(c.core) for c in found)


def test_what_does_not_fill_a_box_is_no_candidate():
    candidates = Candidates.covering(OUTER, (4, 32, 32), "size")
    assert len(candidates.grid) == 2 * 2 * 2
    assert candidates.grid[0].core == Box((2, 0, 0), (4, 32, 32))


@pytest.mark.parametrize("size", [(4, 16), (1, -1, 2), (99, 1, 1)])
def test_sizes_that_cannot_be(size):
    with pytest.raises(InputError, match="size="):
        Candidates.covering(OUTER, size, "size")


def test_windows_cover_a_box_and_stay_within_the_volume():
    box, volume = Box((0, 10, 0), (4, 32, 64)), (4, 64, 64)
    found = windows_in(box, (4, 16, 16), volume, 99)
    seen = np.zeros(volume, int)
    for window in found:
        seen[window.slices] += 1
    assert len(found) == 2 * 4 and (seen[box.slices] == 1).all() and seen.sum() == box.volume


def test_few_windows_are_spread_evenly():
    found = windows_in(Box((0, 0, 0), (1, 64, 64)), (3, 16, 16), (8, 64, 64), 4)
    assert [w.start for w in found] == [(0, 8, 8), (0, 8, 40), (0, 40, 8), (0, 40, 40)]
    # A volume that is smaller than a window has one, which is mirrored.
    assert windows_in(Box((0, 0, 0), (2, 8, 8)), (4, 16, 16), (2, 8, 8), 4) == [
        Box((0, 0, 0), (4, 16, 16))
    ]
