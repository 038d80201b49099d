"""The lattice covers every voxel with weights that add up to 1, whatever the blocks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.inference.tiles import Tiling, blend, positions


def test_number_of_windows() -> None:
    """PyTorch Connectomics' Lucchi protocol: 1 + ceil((D - P) / S) along each axis."""
    counts = [len(positions(n, 112, 1)) for n in (165, 768, 1024)]
    assert counts == [54, 657, 913]
    assert math.prod(counts) == 32_391_414


def test_half_overlap_of_a_cube() -> None:
    tiling = Tiling((256,) * 3, (128,) * 3, overlap=0.5)
    assert tiling.stride == (64, 64, 64)
    assert len(tiling) == 27


@pytest.mark.parametrize(("size", "tile", "stride"), [(10, 4, 3), (11, 4, 3), (4, 4, 2), (3, 4, 2)])
def test_the_last_tile_is_tucked_in(size: int, tile: int, stride: int) -> None:
    starts = positions(size, tile, stride)
    assert len(starts) == 1 + math.ceil(max(size - tile, 0) / stride)
    assert starts[0] == 0 and starts[-1] == max(size - tile, 0)
    assert np.all(np.diff(starts) > 0) and np.all(np.diff(starts) <= stride)


def test_blends_by_hand() -> None:
    np.testing.assert_allclose(blend(6, "linear", 2), [1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3])
    gaussian = blend(8, "gaussian", 4)
    np.testing.assert_allclose(gaussian, gaussian[::-1])
    assert gaussian.argmax() in (3, 4)
    np.testing.assert_allclose(gaussian[7], math.exp(-0.5 * 3.5**2))


@pytest.mark.parametrize("blending", ["gaussian", "linear"])
@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.7])
@pytest.mark.parametrize("size", [(9, 20, 33), (3, 16, 17), (4, 8, 8)])
def test_weights_add_up_to_one(blending: str, overlap: float, size: tuple[int, int, int]) -> None:
    offsets = (None, (-1, 0, 0), (0, -3, 0), (0, -7, -5))
    tiling = Tiling(size, (4, 8, 8), overlap, blending, offsets)
    total = np.zeros((len(offsets), *map(max, size, tiling.tile_size)))
    for place in itertools.product(*map(range, map(len, tiling.starts))):
        parts = [w[i] for w, i in zip(tiling.weights, place, strict=True)]
        start = tuple(int(s[i]) for s, i in zip(tiling.starts, place, strict=True))
        weight = np.einsum("cz,cy,cx->czyx", *parts)
        assert (weight[0] > 0).all()
        total[(slice(None), *Box(start, tiling.tile_size).slices)] += weight
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_an_edge_is_taken_from_tiles_that_hold_both_ends() -> None:
    tiling = Tiling((1, 1, 12), (1, 1, 8), 0.5, "linear", (None, (0, 0, -2)))
    assert list(tiling.starts[2]) == [0, 4]
    plain, edge = tiling.weights[2][:, 0], tiling.weights[2][:, 1]
    # Voxels 4 and 5 are in both tiles, but their partners 2 and 3 are in the first alone.
    assert list(edge[0][4:6]) == [1, 1] and list(edge[1][:2]) == [0, 0]
    assert 0 < plain[0][4] < 1
    # Voxels 0 and 1 have no partner in the volume.
    assert list(edge[0][:2]) == [1, 1]


def test_an_offset_longer_than_the_overlap_falls_back_on_all_tiles() -> None:
    tiling = Tiling((1, 1, 12), (1, 1, 8), 0.5, "linear", (None, (0, 0, -8)))
    np.testing.assert_array_equal(tiling.weights[2][:, 1][1][4:], 1)
    np.testing.assert_allclose(tiling.weights[2][:, 1][0][:4], 1)


@pytest.mark.parametrize("core", [(4, 8, 8), (5, 7, 30), (1, 1, 1)])
def test_a_block_finds_all_its_tiles(core: tuple[int, int, int]) -> None:
    tiling = Tiling((9, 20, 13), (4, 8, 8), 0.5)
    grid = Grid(Box((1, 2, 0), (7, 18, 13)), core)
    buffer = tiling.buffer_size(grid)
    every = [
        (place, Box(tuple(int(s[i]) for s, i in zip(tiling.starts, place, strict=True)), (4, 8, 8)))
        for place in itertools.product(*map(range, map(len, tiling.starts)))
    ]
    for block in grid:
        touching = [(place, box) for place, box in every if box.overlaps(block.core)]
        assert tiling.covering(block.core) == [place for place, _ in touching]
        region = tiling.region(block.core)
        assert all(region.contains(box) for _, box in touching)
        lead = np.subtract(block.core.start, region.start)
        assert np.all(np.array(buffer) >= region.size) and np.all(np.array(buffer) >= lead + core)


@pytest.mark.parametrize(
    ("options", "helps"),
    [
        ({"overlap": 0.1}, "0.25 or more"),
        ({"overlap": 1.0}, "below 1"),
        ({"blending": "gausian"}, "did you mean 'gaussian'"),
        ({"tile_size": (0, 8, 8)}, "1 or more"),
    ],
)
def test_mistakes(options: dict, helps: str) -> None:
    with pytest.raises(InputError, match=helps):
        Tiling(**{"size": (8, 8, 8), "tile_size": (4, 8, 8), **options})
