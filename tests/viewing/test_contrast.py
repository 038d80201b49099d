"""Contrast by a few blocks: percentiles, padding, NaN, labels, damaged files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.viewing.contrast import measure_contrast
from emjax.volumes.address import Address
from emjax.volumes.volume import Volume


def _volume(array: np.ndarray) -> Volume:
    box = Box((0, 0, 0), array.shape[-3:])
    return Volume(ts.array(array), None, Address("a"), box)


def test_percentiles_of_noise():
    noise = np.random.default_rng(0).integers(50, 151, (20, 128, 128)).astype(np.uint8)
    noise[:, ::50, ::50] = 255  # fewer than 0.5 % of the voxels
    contrast = measure_contrast(_volume(noise))
    assert 50 <= contrast.low <= 51 and 149 <= contrast.high <= 151 and not contrast.flat


def test_constant_and_mostly_constant_volumes_have_a_range():
    assert measure_contrast(_volume(np.full((4, 8, 8), 7, np.uint8)))[:2] == (7, 8)
    padded = np.zeros((4, 64, 64), np.uint16)
    padded[2, 30, 30] = 1000
    assert measure_contrast(_volume(padded))[:2] == (0, 1000)


def test_nan_does_not_count():
    values = np.linspace(0, 1, 4 * 64 * 64, dtype=np.float32).reshape(4, 64, 64)
    values[1, 5] = np.nan
    contrast = measure_contrast(_volume(values))
    assert contrast.low == pytest.approx(0.005, abs=0.01) and not contrast.flat
    assert measure_contrast(_volume(np.full((2, 4, 4), np.nan, np.float32)))[:2] == (0, 1)


def test_ids_are_flat_and_channels_are_read():
    ids = np.repeat(np.arange(4, dtype=np.uint8), 16)
    assert measure_contrast(_volume(np.broadcast_to(ids, (4, 64, 64)).copy())).flat
    channels = np.zeros((3, 4, 8, 8), np.float32)
    channels[2] = 1
    assert measure_contrast(_volume(channels))[:2] == (0, 1)


def test_damaged_blocks_are_left_out():
    good = _volume(np.random.default_rng(0).integers(0, 100, (8, 256, 256)).astype(np.uint8))

    @dataclasses.dataclass(frozen=True)
    class Damaged(Volume):
        first: int = 0

        def read(self, box: Box) -> np.ndarray:
            if box.start[1] >= self.first:
                raise InputError(f"a cannot be read at {box}")
            return super().read(box)

    fields = {f.name: getattr(good, f.name) for f in dataclasses.fields(Volume)}
    assert measure_contrast(Damaged(**fields, first=100)).high > 90
    with pytest.raises(InputError, match="a cannot be read at"):
        measure_contrast(Damaged(**fields, first=0))
