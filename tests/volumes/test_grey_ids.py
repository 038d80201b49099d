"""Images are no ids, and ids are no images, however small the objects are."""

from __future__ import annotations

import numpy as np
import pytest
import tensorstore as ts
from scipy import ndimage

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.address import Address
from emjax.volumes.grey_ids import refuse_grey
from emjax.volumes.volume import Volume

SHAPE = (6, 96, 96)


def _noise(sigma: float, dtype: type = np.uint8) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), (0, sigma, sigma))
    return np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(dtype)


def _cells(side: int, random: bool) -> np.ndarray:
    """Squares of ids, which follow each other or are any."""
    z, y, x = np.indices(SHAPE)
    ids = 1 + (y // side) * (96 // side) + x // side
    return np.random.default_rng(0).permutation(ids.max() + 1)[ids] if random else ids


def _refuse(voxels: np.ndarray, keys: str = "") -> None:
    address = Address.parse(f"a.h5{keys}")
    box = Box((0, 0, 0), voxels.shape)
    refuse_grey(Volume(ts.array(voxels), None, address, box), "segmentation")


@pytest.mark.parametrize("sigma", [0, 1, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32])
def test_images(sigma, dtype):
    with pytest.raises(
        InputError, match=r"segmentation .*a.h5 looks like a grey image: \d+ values"
    ):
        _refuse(_noise(sigma, dtype))
    _refuse(_noise(sigma, dtype), "?kind=labels")
    padded = _noise(sigma, dtype)
    padded[:, :40] = padded[..., :40] = 0
    with pytest.raises(InputError, match="looks like a grey image"):
        _refuse(padded)


@pytest.mark.parametrize("random", [True, False])
@pytest.mark.parametrize("side", [2, 3, 6, 12])
def test_ids(side, random):
    ids = _cells(side, random)
    _refuse(ids.astype(np.uint16))
    _refuse((ids % 255).astype(np.uint8))
    if side == 2:
        return
    # Thin membranes of background around each object.
    _, y, x = np.indices(SHAPE)
    _refuse(np.where((y % side == 0) | (x % side == 0), 0, ids).astype(np.uint16))


def test_what_is_neither():
    for voxels in (np.zeros(SHAPE, np.uint8), _noise(1) // 64, _noise(1) > 128):
        _refuse(voxels)
    _refuse(np.random.default_rng(0).integers(0, 2**40, SHAPE).astype(np.uint64))


def test_points_and_thin_lines_may_be_ids():
    """Ids of single voxels, and of lines that run aslant, have no equal neighbours; grains of an image have others."""
    rng = np.random.default_rng(0)
    points = np.where(rng.random(SHAPE) < 0.02, rng.integers(1, 60000, SHAPE), 0)
    _refuse(points.astype(np.uint16))
    _, y, x = np.indices(SHAPE)
    _refuse(np.where((y + x) % 3 == 0, 1 + (y + x) // 3, 0).astype(np.uint16))
    grains = _noise(1)
    with pytest.raises(InputError, match="looks like a grey image"):
        _refuse(np.where(grains > 170, grains, 0))
