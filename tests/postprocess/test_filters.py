"""Filters by hand, and that a block with its halo has what the whole volume has."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emjax.errors import InputError
from emjax.postprocess.filters import Closing, Median, Opening, Smoothing
from emjax.postprocess.passes import apply_all

FLAT = {"radius": 1, "plane": True}


def row(*ids: int) -> np.ndarray:
    return np.array(ids, np.int64).reshape(1, 1, -1)


def test_opening_keeps_what_a_window_fits_into():
    labels = row(1, 1, 1, 0, 2, 2, 0, 3, 3, 3, 0, 4, 4)
    # 4 goes on beyond the border of the volume.
    assert Opening(**FLAT).apply(labels).ravel().tolist() == [1, 1, 1, 0, 0, 0, 0, 3, 3, 3, 0, 4, 4]
    touching = row(0, 1, 1, 1, 2, 2, 3, 3, 3, 0)
    assert Opening(**FLAT).apply(touching).ravel().tolist() == [0, 1, 1, 1, 0, 0, 3, 3, 3, 0]


def test_closing_fills_gaps_of_one_object():
    labels = row(1, 1, 0, 0, 1, 1, 0, 2, 2, 0, 0, 0, 2)
    found = Closing(**FLAT).apply(labels).ravel().tolist()
    assert found == [1, 1, 1, 1, 1, 1, 0, 2, 2, 0, 0, 0, 2]
    wide = Closing(radius=2, plane=True).apply(labels).ravel().tolist()
    assert wide == [1, 1, 1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 2]


def test_smoothing_takes_the_most_frequent_label_and_keeps_its_own_of_equal_ones():
    assert Smoothing(**FLAT).apply(row(1, 1, 2, 1, 1, 0, 0)).ravel().tolist() == [
        1,
        1,
        1,
        1,
        1,
        0,
        0,
    ]
    assert Smoothing(**FLAT).apply(row(1, 2)).ravel().tolist() == [1, 2]
    # Three labels, each once: the own one stays.
    assert Smoothing(**FLAT).apply(row(3, 2, 1)).ravel().tolist() == [3, 2, 1]


def test_median_is_that_of_scipy_for_each_channel():
    image = np.random.default_rng(0).integers(0, 255, (2, 5, 6, 7), np.uint8)
    found = apply_all([Median(size=(1, 3, 3))], image)
    wanted = [ndimage.median_filter(channel, (1, 3, 3), mode="reflect") for channel in image]
    np.testing.assert_array_equal(found, wanted)
    with pytest.raises(InputError, match="size=2/3/3 must be odd"):
        Median(size=(2, 3, 3))


def test_large_ids_stay_exact():
    large = np.uint64(2**64 - 3)
    labels = np.array([large, large, large - np.uint64(1), large], np.uint64).reshape(1, 1, 4)
    found = apply_all([Smoothing(radius=1)], labels)
    assert found.dtype == np.uint64 and found.ravel().tolist() == [int(large)] * 4


@pytest.mark.parametrize(
    "operation", [Opening(), Closing(), Smoothing(radius=2), Opening(plane=True)], ids=str
)
def test_a_part_with_its_halo_equals_the_whole(operation):
    coarse = np.random.default_rng(1).integers(0, 4, (3, 5, 6))
    labels = np.kron(coarse, np.ones((3, 3, 3), np.int64))
    labels[np.random.default_rng(2).random(labels.shape) < 0.1] = 0
    whole = operation.apply(labels)
    assert np.any(whole != labels)
    z, y, x = operation.halo
    # A block in the middle, read with its halo; at the front it reaches the border of the volume.
    part = labels[: 6 + z, 5 - y : 10 + y, 6 - x : 12 + x]
    inner = operation.apply(part)[:6, y : y + 5, x : x + 6]
    np.testing.assert_array_equal(inner, whole[:6, 5:10, 6:12])
