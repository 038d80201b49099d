"""Pairs of sides of synapses: by hand, there and back, and the same whatever the cells."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.segmentation.methods import METHODS, choose_method, decode
from emjax.segmentation.methods.polarity import sides, synapses
from emjax.segmentation.prediction import Prediction


def _prediction(names: tuple[str, ...], *channels: list[float]) -> Prediction:
    array = np.array(channels, np.float32).reshape(len(channels), 1, 1, -1)
    return Prediction(array, names, (None,) * len(names))


OVERLAPPING = _prediction(
    ("pre", "post", "synapse"),
    [0.9, 0.8, 0.6, 0.1, 0.0, 0.0, 0.0, 0.9, 0.9],
    [0.1, 0.2, 0.7, 0.9, 0.0, 0.0, 0.0, 0.9, 0.1],
    [0.9, 0.9, 0.9, 0.9, 0.0, 0.0, 0.0, 0.8, 0.4],
)
EVERYTHING = {"min_size": 0}


def test_both_sides_of_a_synapse_by_hand() -> None:
    assert sides(OVERLAPPING, 0.5).ravel().tolist() == [1, 1, 2, 2, 0, 0, 0, 1, 0]
    found = decode(OVERLAPPING, "polarity", EVERYTHING | {"dilation": 1})
    assert found.ravel().tolist() == [1, 1, 2, 2, 0, 0, 0, 3, 0]
    # Widened by 2 from both, three voxels of background are bridged.
    found = decode(OVERLAPPING, "polarity", EVERYTHING)
    assert found.ravel().tolist() == [1, 1, 2, 2, 0, 0, 0, 1, 0]
    whole = decode(OVERLAPPING, "polarity", EVERYTHING | {"dilation": 0, "pairs": False})
    assert whole.ravel().tolist() == [1, 1, 1, 1, 0, 0, 0, 2, 0]


def test_small_synapses_are_those_of_both_sides() -> None:
    found = decode(OVERLAPPING, "polarity", {"dilation": 0, "min_size": 3})
    assert found.ravel().tolist() == [1, 1, 2, 2, 0, 0, 0, 0, 0]


def test_exclusive_channels_take_the_highest() -> None:
    names = ("no_synapse", "pre", "post")
    exclusive = _prediction(names, [0.5, 0.3, 0.2, 0.4], [0.3, 0.4, 0.3, 0.2], [0.2, 0.3, 0.5, 0.4])
    assert sides(exclusive, 0.5).ravel().tolist() == [0, 1, 2, 0]
    assert choose_method("", names, (None,) * 3) == "polarity"
    assert not METHODS.find("polarity").fits(("pre", "post"), (None, None))


def test_synapses_widen_within_sections_only() -> None:
    found = np.zeros((3, 1, 5), np.uint8)
    found[0, 0, 0], found[2, 0, 0], found[0, 0, 3] = 1, 2, 2
    assert len(np.unique(synapses(found, 2))) == 3
    assert len(np.unique(synapses(found, 0))) == 4


@pytest.mark.parametrize("exclusive", [False, True])
def test_pairs_come_back_from_their_labels(exclusive) -> None:
    labels = np.zeros((4, 24, 40), np.int64)
    for n, x in enumerate((2, 14, 27)):
        labels[:, 4:12, x : x + 6], labels[:, 12:18, x : x + 6] = 2 * n + 1, 2 * n + 2
    pre, post = labels % 2 == 1, (labels > 0) & (labels % 2 == 0)
    last = labels == 0 if exclusive else labels > 0
    names = ("pre", "post", "no_synapse" if exclusive else "synapse")
    prediction = Prediction(np.stack([pre, post, last]).astype(np.float32), names, (None,) * 3)
    np.testing.assert_array_equal(decode(prediction, "polarity"), labels)
