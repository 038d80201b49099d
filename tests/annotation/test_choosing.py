"""The choice of places to label: kinds of tissue by hand, and what must hold for any."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.annotation.choosing import Choice, choose, pool

# Three kinds of tissue along a line, of which the second is the most uncertain one.
FEATURES = np.array([0.0, 0.1, 0.2, 10.0, 10.1, 10.2, 30.0, 30.1])[:, None]
UNCERTAINTY = np.array([0.1, 0.3, 0.2, 0.8, 0.9, 0.7, 0.4, 0.5])
NONE = np.zeros(8, bool)


def _choose(features, uncertainty, labelled, budget, share=1.0):
    """Chooses among the places of the pool, as the job does."""
    known, unsure = pool(uncertainty, labelled, budget, share)
    members = np.concatenate([known, unsure])
    found = choose(features[members], uncertainty[members], len(known), budget)
    return Choice(members[found.indices], found.stands_for, found.novelty)


def test_each_kind_gives_its_most_uncertain_place():
    found = _choose(FEATURES, UNCERTAINTY, NONE, 3)
    # The most uncertain place of all; then of the kind that differs most; then of the third.
    assert found.indices.tolist() == [4, 7, 1]
    assert found.stands_for.tolist() == [3, 2, 3]
    assert np.isnan(found.novelty[0]) and (found.novelty[1:] > 0).all()


def test_kinds_that_are_labelled_come_last():
    labelled = NONE.copy()
    labelled[3] = True
    found = _choose(FEATURES, UNCERTAINTY, labelled, 2)
    assert found.indices.tolist() == [7, 1]
    every = _choose(FEATURES, UNCERTAINTY, labelled, 99)
    assert sorted(every.indices) == [0, 1, 2, 4, 5, 6, 7]


def test_places_without_an_uncertainty_are_never_chosen():
    blank = np.where(np.arange(8) < 6, np.nan, UNCERTAINTY)
    assert sorted(_choose(FEATURES, blank, NONE, 5).indices) == [6, 7]
    nothing = _choose(FEATURES, np.full(8, np.nan), NONE, 5)
    assert len(nothing.indices) == 0


def test_only_the_most_uncertain_share_is_clustered():
    rng = np.random.default_rng(0)
    features, uncertainty = rng.normal(size=(100, 5)), rng.random(100)
    found = _choose(features, uncertainty, np.zeros(100, bool), 5, share=0.2)
    assert uncertainty[found.indices].min() >= np.sort(uncertainty)[-20]


@pytest.mark.parametrize("seed", range(3))
def test_a_longer_list_begins_with_the_shorter_one(seed):
    rng = np.random.default_rng(seed)
    features, uncertainty = rng.normal(size=(60, 40)), rng.random(60)
    labelled = rng.random(60) < 0.1
    lists = [_choose(features, uncertainty, labelled, n).indices.tolist() for n in (3, 9, 60)]
    assert lists[1][:3] == lists[0] and lists[2][:9] == lists[1]
    assert len(set(lists[2])) == len(lists[2]) == (~labelled).sum()


def test_equal_features_leave_uncertainty_alone():
    found = _choose(np.ones((4, 2)), np.array([0.1, 0.4, 0.2, 0.3]), np.zeros(4, bool), 4)
    assert found.indices[0] == 1 and sorted(found.indices) == [0, 1, 2, 3]


def test_a_single_place():
    found = _choose(np.ones((1, 2)), np.array([0.5]), np.zeros(1, bool), 3)
    assert found.indices.tolist() == [0] and found.stands_for.tolist() == [1]
