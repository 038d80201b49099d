from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.evaluation.probe import average_precision, linear_probe, membrane_target, roc_auc


def test_scores_by_hand():
    labels = np.array([1, 0, 1, 0], bool)
    scores = np.array([4.0, 3, 2, 1])
    assert average_precision(labels, scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert roc_auc(labels, scores) == pytest.approx(3 / 4)
    # One score for all: a single threshold, at which the precision is the share of positives.
    assert average_precision(labels, np.zeros(4)) == pytest.approx(0.5)
    assert roc_auc(labels, np.zeros(4)) == pytest.approx(0.5)


def test_roc_auc_equals_counting_pairs():
    rng = np.random.default_rng(0)
    labels, scores = rng.uniform(size=60) < 0.3, rng.integers(0, 8, 60)
    pairs = scores[labels][:, None] - scores[~labels][None, :]
    expected = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert roc_auc(labels, scores) == pytest.approx(expected)
    assert roc_auc(labels, -scores) == pytest.approx(1 - expected)


def test_membrane_between_two_ids_in_the_section():
    labels = np.zeros((2, 3, 6), np.uint64)
    labels[0, :, 3:] = 2**63 + 5
    labels[1] = 9  # another id in the next section makes no boundary
    target, valid = membrane_target(labels)
    assert valid.all() and not target[1].any()
    np.testing.assert_array_equal(target[0, 0], [0, 0, 1, 1, 0, 0])


def test_ignored_ids_make_no_boundary_and_leave_their_surroundings_unknown():
    labels = np.broadcast_to(np.array([1, 1, 1, 7, 7, 7, 2, 3, 3]), (1, 3, 9))
    target, valid = membrane_target(labels, ignore=[7])
    np.testing.assert_array_equal(target[0, 1], [0, 0, 0, 0, 0, 0, 1, 1, 0])
    # The voxel of id 2 is beside the unknown, but its boundary to 3 is known.
    np.testing.assert_array_equal(valid[0, 1], [1, 1, 0, 0, 0, 0, 1, 1, 1])


def _samples(count: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.uniform(size=count) < 0.2
    features = rng.normal(size=(count, 6)) * noise
    features[:, 2] += np.where(labels, 1, -1)
    return (features * [1, 1, 1e-3, 1e3, 1, 1] + 5).astype(np.float32), labels


def test_probe_finds_a_plane_on_new_samples_whatever_the_scales():
    scores = linear_probe(*_samples(500, 0, 0.2), *_samples(400, 1, 0.2))
    assert set(scores) == {"average_precision", "roc_auc", "f1"}
    assert all(value > 0.99 for value in scores.values())


def test_probe_of_features_without_information_scores_chance():
    rng = np.random.default_rng(2)
    train, test = rng.normal(size=(2, 3000, 4))
    labels = rng.uniform(size=(2, 3000)) < 0.2
    scores = linear_probe(train, labels[0], test, labels[1])
    assert scores["roc_auc"] == pytest.approx(0.5, abs=0.05)
    assert scores["average_precision"] == pytest.approx(0.2, abs=0.05)


def test_constant_features_do_no_harm():
    labels = np.array([0, 1, 0, 1], bool)
    scores = linear_probe(np.ones((4, 2)), labels, np.ones((4, 2)), labels)
    assert scores["roc_auc"] == pytest.approx(0.5)


def test_fit_is_where_the_gradient_vanishes():
    from emjax.evaluation.probe import _fit_logistic

    features, labels = np.random.default_rng(3).normal(size=(50, 3)), np.arange(50) % 3 == 0
    slope, offset = _fit_logistic(features, labels, 0.1, 200)
    weights = np.where(labels, 0.5 / labels.mean(), 0.5 / (1 - labels.mean())) / 50
    residual = weights * (1 / (1 + np.exp(-features @ slope - offset)) - labels)
    np.testing.assert_allclose(features.T @ residual + 0.1 * slope, 0, atol=1e-4)
    np.testing.assert_allclose(residual.sum(), 0, atol=1e-4)


def test_mistakes_are_named():
    features, labels = np.ones((4, 2)), np.array([0, 1, 0, 1], bool)
    with pytest.raises(InputError, match="test part .* one class"):
        linear_probe(features, labels, features, np.zeros(4))
    with pytest.raises(InputError, match="training features .* finite"):
        linear_probe(features * np.nan, labels, features, labels)
    with pytest.raises(InputError, match="float32"):
        membrane_target(np.zeros((1, 2, 2), np.float32))


def test_membranes_made_from_ids_agree_with_drawn_ones(shared_data: Path):
    with h5py.File(shared_data / "neurons" / "isbi2012_z00-17.h5") as file:
        ids, drawn = file["neurites"][:2], file["membrane"][:2] == 0
    target, valid = membrane_target(ids, ignore=[0])
    target |= ids == 249  # itself membrane
    overlap = np.sum(target & drawn & valid) / np.sum((target | drawn) & valid)
    assert valid.mean() > 0.8 and overlap > 0.7
