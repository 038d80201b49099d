"""CREMI's score: by hand, against the challenge's formulas written anew, and block by block."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emjax.evaluation.contingency import Contingency
from emjax.evaluation.counting import Counts, Pair, count_block
from emjax.evaluation.cremi import CremiBorders, cremi_scores
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid

SHAPE = (3, 48, 56)
NM = (40, 4, 4)


def _cells(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (9, 2)) * SHAPE[1:]
    y, x = np.indices(SHAPE[1:])
    distances = (y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2
    return np.repeat((distances.argmin(axis=-1) + 1)[None], SHAPE[0], axis=0).astype(np.uint64)


def _scored(labels: np.ndarray, found: np.ndarray, threshold: float = 25) -> dict[str, float]:
    far = CremiBorders(threshold, NM).far(labels)
    return cremi_scores(Contingency.from_arrays(labels, found, mask=far).without_background())


def test_borders_by_hand():
    labels = np.ones((1, 1, 12), np.uint8)
    labels[..., 5:] = 2
    # Columns 4 and 5 are at the border; 3 and 6 lie 4 nm from them, 2 and 7 8 nm. The end of the array is no border.
    for threshold, left in ((0, 12), (3.9, 10), (4, 8), (8, 6), (16, 2), (20, 1), (24, 0)):
        assert CremiBorders(threshold, NM).far(labels).sum() == left
    assert CremiBorders(25, NM).far(np.full_like(labels, 2**7)).all()
    assert CremiBorders(25, NM).halo == (0, 7, 7) and CremiBorders(0, NM).halo == (0, 0, 0)
    # Sections do not see each other; pixels need not be square.
    stack = np.arange(4, dtype=np.int32).repeat(25).reshape(4, 5, 5)
    assert CremiBorders(25, NM).far(stack).all()
    assert CremiBorders(8, (40, 16, 4)).far(labels.reshape(1, 12, 1)).sum() == 10


def test_borders_drawn_a_bit_off_cost_nothing():
    labels = _cells(0)
    found = np.roll(labels, 2, axis=2)
    found[..., :2] = labels[..., :2]
    assert _scored(labels, found)["cremi_score"] == 0
    assert _scored(labels, found, threshold=0)["cremi_score"] > 0.1


def test_equals_the_formulas_of_the_challenge():
    rng = np.random.default_rng(3)
    labels, found = _cells(0), _cells(1)
    labels[:, :4] = 2**64 - 1
    found[rng.random(SHAPE) < 0.2] = 0
    # cremi_python, written anew: what is near a border becomes 0 in the truth, and 0 is ignored.
    truth = np.zeros(SHAPE, int)
    for z in range(SHAPE[0]):
        q = np.pad(labels[z], 1, mode="edge")
        neighbours = (q[:-2, 1:-1], q[2:, 1:-1], q[1:-1, :-2], q[1:-1, 2:])
        inner = np.logical_and.reduce([labels[z] == n for n in neighbours])
        far = ndimage.distance_transform_edt(inner) > 25 / 4
        truth[z] = np.where(far & (labels[z] < 100), labels[z] % 100, 0)
    counts = np.zeros((10, 10))
    np.add.at(counts, (truth.ravel(), found.ravel().astype(int)), 1)
    counts, scored = counts[1:], counts[1:].sum()
    alone = counts[:, 0].sum() / scored
    rows, columns = counts.sum(axis=1), counts[:, 1:].sum(axis=0)
    both = (counts[:, 1:] ** 2).sum() + alone
    precision, recall = both / ((columns**2).sum() + alone), both / (rows**2).sum()
    rand = 1 - 2 * precision * recall / (precision + recall)
    joint, of_labels, of_segments = (p[p > 0] / scored for p in (counts, rows, counts.sum(axis=0)))
    voi = sum(
        k * np.sum(p * np.log2(p)) for k, p in ((-2, joint), (1, of_labels), (1, of_segments))
    )
    scores = _scored(labels, found)
    assert scores["cremi_rand"] == pytest.approx(rand, abs=1e-12)
    assert scores["cremi_voi_split"] + scores["cremi_voi_merge"] == pytest.approx(voi)
    assert scores["cremi_score"] == pytest.approx(np.sqrt(voi * rand))


def test_blocks_make_no_difference():
    labels, found = _cells(0), _cells(1)
    pair = Pair(lambda box: labels[box.slices], lambda box: found[box.slices])
    borders = CremiBorders(13, NM)
    whole = count_block(pair, Grid(Box((0, 0, 0), SHAPE), SHAPE)[0], borders=borders).far
    assert 0 < whole.voxels < labels.size
    grid = Grid(Box((0, 0, 0), SHAPE), (2, 11, 9), borders.halo)
    parts = [count_block(pair, block, borders=borders).to_arrays() for block in grid]
    total = Contingency.total(Counts.from_arrays(part).far for part in parts)
    assert cremi_scores(total) == cremi_scores(whole)


def test_nothing_to_score():
    assert cremi_scores(Contingency.total([])) == {}
    labels = np.full((1, 4, 4), 3, np.uint8)
    assert _scored(labels, np.zeros_like(labels))["cremi_rand"] == pytest.approx(1, abs=0.01)
