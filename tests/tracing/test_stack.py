"""What is neurite in a stack, and how deep."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.tracing import stack as stacks
from emjax.tracing.stack import Stack, check_memory, find_threshold, inner_depth


def test_depth_is_the_distance_from_the_face():
    mask = np.zeros((3, 7, 9), bool)
    mask[1, 1:6, 1:8] = True
    depth = inner_depth(mask, (10.0, 1.0, 1.0))
    assert depth[1, 3, 4] == 2.5 and depth[1, 1, 4] == 0.5 and depth[0].max() == 0
    # Sections are far apart, and the stack's border is no edge.
    assert inner_depth(mask[1:2], (1.0, 1.0, 1.0))[0, 3, 4] == 2.5
    assert inner_depth(mask, (1.0, 1.0, 1.0))[1, 3, 4] == 0.5
    assert inner_depth(np.ones((3, 3, 3), bool), (1.0, 1.0, 1.0))[1, 1, 1] == 1.5


def test_evidence_is_half_at_the_threshold_and_full_at_white():
    values = np.asarray([[[0, 50, 100, 150, 200]]], np.uint8)
    made = Stack.of(values, 100, white=200)
    assert made.mask[0, 0].tolist() == [False, False, False, True, True]
    assert made.evidence[0, 0].tolist() == [0, 63, 127, 191, 255]


def test_small_pieces_are_left_out():
    values = np.zeros((1, 9, 9), np.uint8)
    values[0, 0, :3], values[0, 5, :] = 9, 9
    assert Stack.of(values, 5, min_voxels=4).mask.sum() == 9
    with pytest.raises(
        InputError, match=r"no piece above threshold=5 has 10 voxels \(min_voxels\)"
    ):
        Stack.of(values, 5, min_voxels=10)


def test_nothing_to_trace():
    with pytest.raises(InputError, match="no voxel is above threshold=9: the largest value is 3"):
        Stack.of(np.full((2, 2, 2), 3), 9)
    with pytest.raises(InputError, match="all voxels of the input are 3"):
        find_threshold(np.full((2, 2, 2), 3))


def test_what_does_not_fit_says_how_large_a_part_may_be(monkeypatch):
    monkeypatch.setattr(stacks, "free_memory_bytes", lambda: 2_000_000_000)
    check_memory((100, 1000, 1000), "stack")
    with pytest.raises(InputError, match=r"1,000,000,000 voxels.* at most 100,000,000 voxels"):
        check_memory((1000, 1000, 1000), "stack")
