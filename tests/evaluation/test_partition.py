"""Scores of segmentations: golden numbers, and agreement with scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage import metrics

from emjax.evaluation.average_precision import average_precision, mean_average_precision
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.overlap import class_dice, class_overlap, confusion_matrix, foreground_overlap
from emjax.evaluation.partition import adapted_rand, variation_of_information


def _table(labels: np.ndarray, segments: np.ndarray) -> Contingency:
    return Contingency.from_arrays(
        labels.reshape(1, *labels.shape[-2:]) if labels.ndim == 2 else labels,
        segments.reshape(1, *segments.shape[-2:]) if segments.ndim == 2 else segments,
    )


def _voronoi(cells: int = 40, shape: tuple = (16, 24, 24), seed: int = 0) -> np.ndarray:
    seeds = np.zeros(shape, int)
    places = np.random.default_rng(seed).choice(seeds.size, cells, replace=False)
    seeds.ravel()[places] = np.arange(1, cells + 1)
    nearest = ndimage.distance_transform_edt(
        seeds == 0, return_indices=True, return_distances=False
    )
    return seeds[tuple(nearest)]


def test_equal_partitions_are_perfect():
    cells = _voronoi()
    renamed = np.random.default_rng(0).permutation(100)[cells] + 1
    table = _table(cells, renamed)
    assert variation_of_information(table) == {"voi_split": 0, "voi_merge": 0, "voi": 0}
    scores = adapted_rand(table)
    assert scores["arand"] == pytest.approx(0, abs=1e-12)
    assert scores["arand_precision"] == scores["arand_recall"] == 1
    matched = average_precision(table)
    for name in ("ap_50", "ap_75", "f1_50", "precision_75", "recall_75", "panoptic_quality_50"):
        assert matched[name] == 1


def test_by_hand():
    # One object of 4 cut into 2 + 2, two objects of 2 merged.
    labels = np.asarray([[1, 1, 1, 1, 2, 2, 3, 3]])
    segments = np.asarray([[1, 1, 2, 2, 3, 3, 3, 3]])
    scores = variation_of_information(_table(labels, segments))
    assert scores == pytest.approx({"voi_split": 0.5, "voi_merge": 0.5, "voi": 1.0})
    # Ordered pairs: 2 + 2 in common of the first, 2 + 2 of the others; 12 + 2 + 2 true, 2 + 2 + 12 found.
    found = adapted_rand(_table(labels, segments))
    assert found == pytest.approx({"arand": 0.5, "arand_precision": 0.5, "arand_recall": 0.5})


def test_merging_all_cells_is_only_merging():
    cells = _voronoi()
    scores = variation_of_information(_table(cells, np.ones_like(cells)))
    sizes = np.bincount(cells.ravel())[1:] / cells.size
    assert scores["voi_split"] == 0
    assert scores["voi_merge"] == pytest.approx(-np.sum(sizes * np.log2(sizes)))


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_image(seed):
    rng = np.random.default_rng(seed)
    labels = _voronoi(seed=seed)
    labels[rng.random(labels.shape) < 0.1] = 0
    segments = _voronoi(30, seed=seed + 10)
    segments[rng.random(labels.shape) < 0.1] = 0
    table = _table(labels, segments).without_background()
    split, merge = metrics.variation_of_information(labels, segments, ignore_labels=(0,))
    found = variation_of_information(table)
    assert (found["voi_split"], found["voi_merge"]) == pytest.approx((split, merge))
    # scikit-image leaves out segment 0, which counts as one object here; and its code divides by the pairs of the
    # truth for what it calls precision: merging everything has precision 1 there.
    error, recall, precision = metrics.adapted_rand_error(labels, segments + 1, ignore_labels=(0,))
    scores = adapted_rand(table)
    expected = {"arand": error, "arand_precision": precision, "arand_recall": recall}
    assert scores == pytest.approx(expected)
    merged = adapted_rand(_table(labels, np.ones_like(labels)).without_background())
    assert merged["arand_recall"] == 1 and merged["arand_precision"] < 0.1


def _square(row: int) -> np.ndarray:
    square = np.zeros((30, 30), int)
    square[row : row + 10, 10:20] = 1
    return square


def test_a_square_moved_by_half():
    table = _table(_square(10), _square(15))
    matched = average_precision(table)
    assert matched["ap_50"] == matched["recall_50"] == matched["precision_50"] == 0
    assert "ap_50_large" not in matched and matched["ap_50_small"] == 0
    found = foreground_overlap(table)
    expected = {
        "foreground_iou": 1 / 3,
        "mean_iou": 0.6078,
        "precision": 0.5,
        "recall": 0.5,
        "dice": 0.5,
    }
    assert found == pytest.approx(expected, abs=1e-4)
    assert average_precision(_table(_square(10), _square(11)))["ap_75"] == 1  # 90 of 110 voxels


def test_size_classes():
    labels = np.zeros((3, 100, 400), int)
    labels[0, 0, :100], labels[1, :20, :300], labels[2] = 1, 2, 3  # 100, 6,000 and 40,000 voxels
    segments = np.where(labels == 2, 0, labels)
    segments[0, 50, :10] = 9  # found where nothing is
    scores = average_precision(_table(labels, segments))
    assert scores["ap_50"] == 2 / 4
    assert (scores["ap_50_small"], scores["ap_50_medium"], scores["ap_50_large"]) == (1 / 2, 0, 1)


def test_what_cannot_be_scored_is_absent():
    nothing = Contingency.total([])
    assert variation_of_information(nothing) == adapted_rand(nothing) == {}
    assert average_precision(nothing) == foreground_overlap(nothing) == {}
    empty = _table(np.zeros((2, 2), int), np.zeros((2, 2), int))
    assert average_precision(empty) == {} and foreground_overlap(empty) == {"mean_iou": 1.0}
    with pytest.raises(ValueError, match="unique"):
        average_precision(nothing, (0.3,))


def test_the_mean_over_thresholds():
    # 11 of 20 voxels: right at 0.5 and 0.55, which is the same number however it is computed.
    labels, segments = np.zeros((2, 1, 1, 20), int)
    labels[..., :11], segments[:] = 1, 1
    assert average_precision(_table(labels, segments), (0.55,))["ap_55"] == 1
    assert mean_average_precision(_table(labels, segments)) == pytest.approx({"ap_50_95": 0.2})
    assert mean_average_precision(Contingency.total([])) == {}


def test_at_exactly_half_one_pair_counts():
    whole, halves = np.ones((1, 1, 8), int), np.repeat([[[5, 4]]], 4, axis=2)
    for labels, segments in ((whole, halves), (halves, whole)):
        scores = average_precision(_table(labels, segments))
        assert scores["ap_50"] == 1 / 2 and scores["ap_75"] == 0
        assert scores["panoptic_quality_50"] == pytest.approx(0.5 / 1.5)


def test_merging_forty_cells_is_a_large_error():
    cells = _voronoi()
    expected = metrics.adapted_rand_error(cells, np.ones_like(cells))[0]
    assert adapted_rand(_table(cells, np.ones_like(cells)))["arand"] == pytest.approx(expected)
    assert expected == pytest.approx(0.9354, abs=0.03)


def test_classes_by_hand():
    labels, found = np.asarray([[0, 0, 1, 1, 2, 2]]), np.asarray([[0, 1, 1, 1, 1, 9]])
    scores = class_overlap(_table(labels, found))
    ious = {"0": 1 / 2, "1": 2 / 4, "2": 0, "9": 0}
    expected = {f"class_iou_{i}": iou for i, iou in ious.items()} | {"class_mean_iou": 1 / 4}
    assert scores == pytest.approx(expected)
    assert class_overlap(Contingency.total([])) == {}
    dices = {"0": 2 / 3, "1": 4 / 6, "2": 0, "9": 0}
    expected = {f"class_dice_{i}": dice for i, dice in dices.items()}
    expected |= {"class_mean_dice": 1 / 3, "class_accuracy": 3 / 6}
    assert class_dice(_table(labels, found)) == pytest.approx(expected)
    ids, confusion = confusion_matrix(_table(labels, found))
    assert ids.tolist() == [0, 1, 2, 9]
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
