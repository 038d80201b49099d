"""CREMI's cleft distances: by hand, as an exact distance transform, and the same in any blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emjax.evaluation.clefts import Distances, Nearest, cleft_scores, surface
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid

from .whole import score_clefts

CREMI_NM = (40.0, 4.0, 4.0)


def _blocks(truth: np.ndarray, found: np.ndarray, voxel_nm: tuple, size: tuple) -> dict[str, float]:
    grid = Grid(Box((0, 0, 0), truth.shape), size)
    cores = [block.core for block in grid]
    parts = {}
    for name, mask, other in (("adgt", found, truth), ("adf", truth, found)):
        nearest = Nearest((surface(other[c.slices], c.start) for c in cores), voxel_nm)
        parts[name] = Distances.total(
            nearest.measure(mask[c.slices], other[c.slices], c.start) for c in reversed(cores)
        )
    return cleft_scores(parts["adgt"], parts["adf"])


def _block_mask(y: int) -> np.ndarray:
    mask = np.zeros((8, 20, 20), bool)
    mask[2:6, y : y + 5, 8:13] = True
    return mask


def test_golden_numbers():
    truth = _block_mask(5)
    assert score_clefts(truth, truth, CREMI_NM) == {"adgt_nm": 0, "adf_nm": 0, "cremi_cleft": 0}
    # 2 of 5 rows lie 4 and 8 nm away.
    found = score_clefts(truth, _block_mask(7), CREMI_NM)
    assert found == pytest.approx({"adgt_nm": 2.4, "adf_nm": 2.4, "cremi_cleft": 2.4})


def test_false_alarms_cost_adgt_and_misses_cost_adf():
    truth, found = (np.zeros((1, 1, 12), bool) for _ in range(2))
    truth[..., 0] = True
    found[..., [0, 10]] = True
    assert score_clefts(truth, found, CREMI_NM) == {"adgt_nm": 20, "adf_nm": 0, "cremi_cleft": 10}
    assert score_clefts(found, truth, CREMI_NM) == {"adgt_nm": 0, "adf_nm": 20, "cremi_cleft": 10}


@pytest.mark.parametrize("voxel_nm", [CREMI_NM, (3.3, 1.7, 1.7)])
def test_equals_the_distance_transform_in_any_blocks(voxel_nm):
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=(2, 9, 26, 31)), (0, 1, 2, 2))
    truth, found = noise > np.quantile(noise, 0.9)
    scores = score_clefts(truth, found, voxel_nm)
    to_truth = ndimage.distance_transform_edt(~truth, sampling=voxel_nm)[found].mean()
    to_found = ndimage.distance_transform_edt(~found, sampling=voxel_nm)[truth].mean()
    assert scores["adgt_nm"] == pytest.approx(to_truth, abs=1e-5)
    assert scores["adf_nm"] == pytest.approx(to_found, abs=1e-5)
    for size in ((9, 26, 31), (1, 26, 31), (4, 7, 9), (3, 13, 2)):
        assert _blocks(truth, found, voxel_nm, size) == scores


def test_an_empty_mask_has_no_distance():
    truth, nothing = _block_mask(5), np.zeros((8, 20, 20), bool)
    assert score_clefts(truth, nothing, CREMI_NM) == {}
    assert score_clefts(nothing, truth, CREMI_NM) == {}
    assert score_clefts(nothing, nothing, CREMI_NM) == {}


def test_surface():
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    found = surface(mask, (10, 0, 0))
    assert len(found) == 26 and [12, 2, 2] not in found.tolist()
    assert found.min(axis=0).tolist() == [11, 1, 1]


def test_sums_longer_than_64_bits_come_back():
    for quanta in (0, 5, 2**32 + 7, 2**70 + 2**33 + 1):
        distances = Distances(quanta, 12)
        assert Distances.from_array(distances.to_array()) == distances
