"""Means and modes against values by hand, a slow reference and TensorStore's."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import tensorstore as ts

from emjax.volumes.write.pooling import MEAN, MODE, pool

FACTORS = [(1, 2, 2), (2, 2, 2), (2, 1, 1), (1, 1, 3)]
BEYOND = 2**53


def _windows(voxels: np.ndarray, factor: tuple[int, int, int]):
    """Each pooled voxel's place, and the list of Python numbers that it is made of."""
    size = [-(-n // f) for n, f in zip(voxels.shape, factor, strict=True)]
    for place in itertools.product(*map(range, size)):
        box = tuple(slice(p * f, p * f + f) for p, f in zip(place, factor, strict=True))
        yield place, voxels[box].ravel().tolist()


def test_means_of_integers_are_rounded_to_even_and_edges_are_of_what_exists() -> None:
    voxels = np.array([[[0, 1, 2, 1, 9], [0, 1, 3, 4, 4]]], np.uint8)
    # 2/4 -> 0, 10/4 -> 2, 13/2 -> 6
    np.testing.assert_array_equal(pool(voxels, (1, 2, 2), MEAN), [[[0, 2, 6]]])
    np.testing.assert_array_equal(pool(-voxels.astype(np.int16), (1, 2, 2), MEAN), [[[0, -2, -6]]])


def test_modes_of_ids_beyond_2_to_the_53_and_ties() -> None:
    a, b = BEYOND + 1, BEYOND + 2
    voxels = np.array([[[b, a, a, b, 7, 0], [b, a, b, b, 7, 0]]], np.uint64)
    # A tie goes to the smaller id; background is an id like any other.
    np.testing.assert_array_equal(pool(voxels, (1, 2, 2), MODE), np.array([[[a, b, 0]]], np.uint64))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32"])
def test_means_are_exact(dtype, factor) -> None:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    voxels = rng.integers(limits.min, limits.max, (3, 5, 7), dtype, endpoint=True)
    pooled = pool(voxels, factor, MEAN)
    assert pooled.dtype == dtype
    for place, window in _windows(voxels, factor):
        # Python rounds fractions half to even.
        assert pooled[place] == round(Fraction(sum(window), len(window)))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("dtype", ["bool", "int64", "uint64"])
def test_modes_are_the_most_frequent_and_smallest(dtype, factor) -> None:
    voxels = np.random.default_rng(1).integers(0, 3, (3, 6, 7)).astype(dtype)
    if dtype == "uint64":
        voxels += np.uint64(2**63)
    pooled = pool(voxels, factor, MODE)
    assert pooled.dtype == dtype
    for place, window in _windows(voxels, factor):
        counts = Counter(window)
        assert pooled[place] == min(v for v in counts if counts[v] == max(counts.values()))


@pytest.mark.parametrize(
    ("dtype", "method"),
    [("uint8", MEAN), ("float16", MEAN), ("float32", MEAN), ("uint8", MODE), ("uint64", MODE)],
)
def test_as_tensorstore_downsamples(dtype, method) -> None:
    rng = np.random.default_rng(2)
    voxels = rng.integers(0, 5 if method == MODE else 250, (2, 9, 11, 13)).astype(dtype)
    pooled = pool(voxels, (1, 2, 2), method)
    theirs = ts.downsample(ts.array(voxels), [1, 1, 2, 2], method).read().result()
    np.testing.assert_array_equal(pooled, theirs)
    assert pooled.dtype == dtype and pooled.shape == (2, 9, 6, 7)


def test_floats_are_rounded_once() -> None:
    # In float32 the small ones would vanish beside the large one.
    voxels = np.array([[[2.0**25, 1, 1, 1]]], np.float32)
    assert pool(voxels, (1, 1, 4), MEAN)[0, 0, 0] == np.float32((2.0**25 + 3) / 4)


def test_any_memory_order_and_no_pooling() -> None:
    voxels = np.random.default_rng(3).integers(0, 255, (4, 6, 8)).astype(np.uint8)
    turned = np.asfortranarray(voxels)
    np.testing.assert_array_equal(pool(turned, (2, 2, 2), MEAN), pool(voxels, (2, 2, 2), MEAN))
    assert pool(voxels, (1, 1, 1), MEAN) is voxels
