"""The contrast of tissue, whatever is around it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.grey_range import PERCENTILES, GreyRange, grey_range

SIZE = (12, 192, 192)
BLOCK = (4, 64, 64)


def _tissue(dtype: type = np.uint8) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SIZE), (0, 1, 1))
    grey = np.clip(140 + 40 * noise / noise.std(), 30, 230)
    return grey.astype(dtype)


def _measure(voxels: np.ndarray, read: bool = True) -> GreyRange:
    steps = [range(0, n - b + 1, b) for n, b in zip(voxels.shape, BLOCK, strict=True)]
    boxes = [Box(start, BLOCK) for start in itertools.product(*steps)]
    blocks = [voxels[box.slices] for box in boxes]
    return grey_range(blocks, boxes, voxels.shape, (lambda b: voxels[b.slices]) if read else None)


def _padding(name: str) -> np.ndarray:
    """Where there is no tissue, a third of the volume or so."""
    z, y, x = np.indices(SIZE)
    return {
        "frame": (np.minimum(y, 191 - y) < 20) | (np.minimum(x, 191 - x) < 20),
        "one side": x < 64,
        # Sections that were moved against each other.
        "steps": x < 10 * z,
        "corners": abs(y - 96) + abs(x - 96) > 130,
        "sections": np.isin(z, (0, 5, 6)),
    }[name] | np.zeros(SIZE, bool)


@pytest.mark.parametrize("name", ["frame", "one side", "steps", "corners", "sections"])
@pytest.mark.parametrize(("fill", "dtype"), [(0, np.uint8), (255, np.uint8), (-7, np.float32)])
def test_padding_does_not_move_the_tissue(name, fill, dtype):
    tissue, padding = _tissue(dtype), _padding(name)
    found = _measure(np.where(padding, dtype(fill), tissue))
    expected = np.percentile(tissue[~padding], PERCENTILES)
    np.testing.assert_allclose((found.low, found.high), expected, atol=3)
    assert f"% are padding of {fill} at its border: left out" in found.remark
    share = float(found.remark.split("voxels, ")[1].split("%")[0]) / 100
    assert share == pytest.approx(padding.mean(), abs=0.01)


def test_what_is_not_padding_counts_to_the_last_bit():
    tissue = _tissue()
    dark = tissue.copy()
    # Areas of one value that do not reach the border, and single voxels of the value anywhere.
    dark[:, 64:128, 64:128] = 0
    scattered = np.where(np.random.default_rng(1).random(SIZE) < 0.02, 0, tissue)
    for voxels in (tissue, dark, scattered.astype(np.uint8)):
        low, high = np.percentile(voxels, PERCENTILES)
        assert _measure(voxels) == GreyRange(low, high)
    padded = np.where(_padding("frame"), 0, tissue)
    assert _measure(padded, read=False).low == 0


def test_saturated_voxels_do_not_make_the_image_black():
    tissue = _tissue().astype(np.uint16) + 1000
    saturated = np.where(np.random.default_rng(0).random(SIZE) < 0.01, 65535, tissue)
    found = _measure(saturated.astype(np.uint16))
    assert 1030 <= found.low < found.high <= 1230
    assert "1.0% are saturated at 65535: left out" in found.remark
    dead = np.where(np.random.default_rng(0).random(SIZE) < 0.01, 0, tissue).astype(np.uint16)
    assert "saturated at 0" in _measure(dead).remark and _measure(dead).low >= 1030
    # The brightest tissue of an image that uses its range stays what it is.
    bright = np.where(tissue > 1200, 1255, tissue)
    assert _measure(bright).high == 1255 and _measure(bright).remark == ""


def test_one_value_and_nearly_one_value():
    assert _measure(np.full(SIZE, 7, np.uint8)) == GreyRange(7, 7)
    nearly = np.zeros(SIZE, np.uint16)
    nearly[2, 30, 30] = 1000
    assert _measure(nearly) == GreyRange(0, 1000)


def test_a_border_that_cannot_be_read_proves_nothing():
    padded = np.where(_padding("frame"), 0, _tissue()).astype(np.uint8)
    box = Box((0, 0, 0), BLOCK)

    def fail(_: Box) -> np.ndarray:
        raise InputError("damaged")

    found = grey_range([padded[box.slices]], [box], SIZE, fail)
    assert found.low == 0 and found.remark == ""
