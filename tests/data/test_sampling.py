"""Which volume, and where in it."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.data.sampling import Origins, entry_probabilities
from emjax.errors import InputError
from emjax.geometry.box import Box


def test_probabilities_by_hand() -> None:
    # Two volumes of one data set share its half; within it they count 3 to 1.
    np.testing.assert_allclose(entry_probabilities("aab", [1, 1, 1]), [0.25, 0.25, 0.5])
    np.testing.assert_allclose(entry_probabilities("aab", [3, 1, 2]), [0.375, 0.125, 0.5])
    np.testing.assert_allclose(entry_probabilities("ab", [1, 3]), [0.25, 0.75])
    found = entry_probabilities("aab", [3, 1, 7], (0.8, 0.2))
    np.testing.assert_allclose(found, [0.6, 0.2, 0.2])


def test_probabilities_sum_to_1() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        groups = rng.integers(0, 3, 6).astype(str).tolist()
        found = entry_probabilities(groups, rng.random(6))
        assert np.isclose(found.sum(), 1)
        assert (found > 0).all()


@pytest.mark.parametrize(
    ("weights", "probabilities", "helps"),
    [
        ([1, 1, 1], (0.5, 0.4), r"data.probabilities=\(0.5, 0.4\) must be 0 or more and sum to 1"),
        ([1, 1, 1], (1.5, -0.5), "must be 0 or more"),
        ([1, 1, 1], (0.5, 0.25, 0.25), "3 values for 2 data sets: a, b"),
        ([1, -1, 1], (), "none may be negative"),
        ([0, 0, 0], (), "one must be positive"),
    ],
)
def test_mistakes_in_probabilities(weights, probabilities, helps) -> None:
    with pytest.raises(InputError, match=helps):
        entry_probabilities("aab", weights, probabilities)


def test_probability_of_a_data_set_without_weight() -> None:
    with pytest.raises(
        InputError, match="gives 0.5 to data set b, whose volumes all have weight=0"
    ):
        entry_probabilities("ab", [1, 0], (0.5, 0.5))
    np.testing.assert_allclose(entry_probabilities("ab", [1, 0], (1, 0)), [1, 0])


def _allowed(size, window, excluded) -> set:
    rooms = [n - w + 1 for n, w in zip(size, window, strict=True)]
    return {
        start
        for start in np.ndindex(*rooms)
        if not any(Box(start, window).overlaps(e) for e in excluded)
    }


def test_excluded_boxes_are_never_touched_and_all_else_is_reached() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        size, window = (5, 7, 8), tuple(map(int, rng.integers(1, 4, 3)))
        excluded = [
            Box(tuple(map(int, rng.integers(0, 5, 3))), tuple(map(int, rng.integers(1, 3, 3))))
            for _ in range(3)
        ]
        allowed = _allowed(size, window, excluded)
        origins = Origins(size, window, excluded, pad="error", name="v")
        assert {origins.draw(rng) for _ in range(200)} <= allowed
        # The pieces cover what is allowed, once.
        cells = [
            tuple(np.add(piece.start, offset).tolist())
            for piece in origins._pieces
            for offset in np.ndindex(*piece.size)
        ]
        assert len(cells) == len(set(cells))
        assert set(cells) == allowed


def test_draws_are_uniform() -> None:
    size, window, excluded = (2, 3, 12), (1, 2, 3), [Box((0, 1, 5), (1, 1, 2))]
    allowed = sorted(_allowed(size, window, excluded))
    origins = Origins(size, window, excluded, pad="error", name="v")
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(allowed, 0)
    draws = 100 * len(allowed)
    for _ in range(draws):
        counts[origins.draw(rng)] += 1
    deviation = sum((count - 100) ** 2 / 100 for count in counts.values())
    # Chi-square: mean n, standard deviation sqrt(2 n).
    assert abs(deviation - len(allowed)) < 4 * np.sqrt(2 * len(allowed))


def test_small_volumes() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"v is \(4, 9, 9\) voxels, smaller than the \(8, 8, 8\)"):
        Origins((4, 9, 9), (8, 8, 8), [], pad="error", name="v")
    origins = Origins((4, 9, 9), (8, 8, 8), [], pad="reflect", name="v")
    assert {origins.draw(rng) for _ in range(100)} == {(0, y, x) for y in (0, 1) for x in (0, 1)}


def test_nothing_left() -> None:
    with pytest.raises(InputError, match=r"v: no window of \(4, 4, 4\).*beside.*\[3:5,0:8,0:8\]"):
        Origins((8, 8, 8), (4, 4, 4), [Box((3, 0, 0), (2, 8, 8))], pad="error", name="v")
