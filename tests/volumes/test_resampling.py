"""Voxels of one grid on another: by hand, in boxes and as a whole, there and back."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.geometry.box import Box
from emjax.volumes.resampling import Resampling
from emjax.volumes.write.pooling import MEAN, pool

SIZE = (7, 23, 19)
# Coarser, finer, and the same.
GRIDS = [((10, 10, 10), (16, 16, 16)), ((40, 8, 8), (20, 10, 8)), ((16, 16, 16), (10, 10, 10))]


def _image(dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SIZE).astype(dtype)


def _part(grid: Resampling, image: np.ndarray, box: Box) -> np.ndarray:
    return grid.interpolate(image[grid.reads(box).slices], box)


def test_fewer_voxels_are_means_by_hand() -> None:
    """By whole factors as the levels of a pyramid, else by the share that a voxel covers."""
    line = np.array([0, 8, 16, 80], np.float32).reshape(1, 1, 4)
    grid = Resampling.covering((1, 1, 4), (1, 1, 1), (1, 1, 2))
    found = _part(grid, line, Box((0, 0, 0), grid.target_size))
    np.testing.assert_array_equal(found, pool(line, (1, 1, 2), MEAN))
    grid = Resampling.covering((1, 1, 4), (10, 10, 10), (10, 10, 16))
    found = _part(grid, line, Box((0, 0, 0), grid.target_size))
    # Beyond the end the last voxel is repeated.
    expected = [(0 + 0.6 * 8) / 1.6, (0.4 * 8 + 16 + 0.2 * 80) / 1.6, 80]
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-6)


def test_twice_as_many_voxels_by_hand() -> None:
    line = np.array([0, 8], np.uint8).reshape(1, 1, 2)
    grid = Resampling.covering((1, 1, 2), (1, 1, 2), (1, 1, 1))
    found = _part(grid, line, Box((0, 0, 0), (1, 1, 4)))
    assert found.dtype == np.uint8 and found.ravel().tolist() == [0, 2, 6, 8]


def test_the_grid_covers_all_voxels() -> None:
    grid = Resampling.covering((250, 250, 250), (10, 10, 10), (16, 16, 16))
    assert grid.target_size == (157, 157, 157)
    assert Resampling.covering((160, 1, 3), (10, 10, 10), (16, 40, 10)).target_size == (100, 1, 3)
    assert grid.cover(Box((204, 0, 16), (46, 16, 16))) == Box((127, 0, 10), (30, 10, 10))


@pytest.mark.parametrize(("stored", "wanted"), GRIDS)
def test_any_box_has_the_bits_of_the_whole(stored, wanted) -> None:
    grid = Resampling.covering(SIZE, stored, wanted)
    for image in (_image(), _image("float32") / 7, np.stack([_image("float32")] * 2)):
        whole = Box((0, 0, 0), grid.target_size)
        expected = grid.interpolate(image[(..., *grid.reads(whole).slices)], whole)
        rng = np.random.default_rng(1)
        for _ in range(20):
            start = tuple(int(rng.integers(n)) for n in grid.target_size)
            size = tuple(
                int(rng.integers(1, n - a + 1))
                for a, n in zip(start, grid.target_size, strict=True)
            )
            box = Box(start, size)
            found = grid.interpolate(image[(..., *grid.reads(box).slices)], box)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected[(..., *box.slices)])


def test_the_same_grid_changes_no_bit() -> None:
    grid = Resampling.covering(SIZE, (10, 10, 10), (10, 10, 10))
    whole = Box((0, 0, 0), SIZE)
    assert grid.target_size == SIZE and grid.reads(whole) == whole
    np.testing.assert_array_equal(grid.interpolate(_image(), whole), _image())
    np.testing.assert_array_equal(grid.nearest(_image(), whole), _image())


def test_a_ramp_stays_a_ramp() -> None:
    """What is linear in nm is so on any grid, to a small part of a voxel where that covers parts of others."""
    ramp = np.broadcast_to((np.arange(60, dtype=np.float32) + 0.5) * 10, (1, 1, 60))
    for nm, error in ((4.0, 1e-3), (20.0, 1e-3), (30.0, 1e-3), (13.0, 1.0), (25.0, 1.0)):
        grid = Resampling.covering((1, 1, 60), (10, 10, 10), (10, 10, nm))
        box = Box((0, 0, 0), grid.target_size)
        found = _part(grid, ramp, box)[0, 0]
        places = (np.arange(len(found)) + 0.5) * nm
        inside = (places > 30) & (places < 570)
        np.testing.assert_allclose(found[inside], places[inside], atol=error)


def test_fine_stripes_become_grey() -> None:
    """Without averaging, stripes of one voxel would become stripes of another width."""
    stripes = np.broadcast_to(np.arange(120) % 2 * 255, (1, 1, 120)).astype(np.uint8)
    grid = Resampling.covering((1, 1, 120), (10, 10, 10), (10, 10, 25))
    found = _part(grid, stripes, Box((0, 0, 0), grid.target_size))[0, 0, 2:-2]
    assert np.ptp(found) < 60 and abs(found.mean() - 127.5) < 4


@pytest.mark.parametrize(("stored", "wanted"), GRIDS)
def test_nearest_ids_in_boxes_and_there_and_back(stored, wanted) -> None:
    ids = np.random.default_rng(0).integers(0, 2**63, SIZE).astype(np.uint64)
    grid = Resampling.covering(SIZE, stored, wanted)
    whole = Box((0, 0, 0), grid.target_size)
    expected = grid.nearest(ids[grid.reads_nearest(whole).slices], whole)
    box = Box(tuple(n // 2 for n in grid.target_size), (2, 3, 4)).clip(whole)
    found = grid.nearest(ids[grid.reads_nearest(box).slices], box)
    np.testing.assert_array_equal(found, expected[box.slices])
    # A finer grid has every stored voxel, so that the way back finds it.
    if all(s <= 1 for s in grid.scale):
        back, all_ = grid.back, Box((0, 0, 0), SIZE)
        assert back.target_size == SIZE
        np.testing.assert_array_equal(
            back.nearest(expected[back.reads_nearest(all_).slices], all_), ids
        )


def test_nearest_by_hand() -> None:
    ids = np.arange(5, dtype=np.uint64).reshape(1, 1, 5)
    grid = Resampling.covering((1, 1, 5), (1, 1, 10), (1, 1, 16))
    # Centres at 8, 24, 40 and 56 nm; 40 is the border of voxels 3 and 4: the later one. 56 lies beyond the end.
    found = grid.nearest(ids, Box((0, 0, 0), grid.target_size))
    assert found.ravel().tolist() == [0, 2, 4, 4]
