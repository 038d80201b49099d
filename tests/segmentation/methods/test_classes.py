"""Maps of classes: by hand, with what classes need, and of several foregrounds."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.segmentation.methods import METHODS, choose_method, decode, read_method_settings
from emjax.segmentation.prediction import Prediction


def _prediction(names: tuple[str, ...], *channels: list[float]) -> Prediction:
    array = np.array(channels, np.float32).reshape(len(channels), 1, 1, -1)
    return Prediction(array, names, (None,) * len(names))


SOFTMAX = _prediction(
    ("class_0", "class_32", "class_255"),
    [0.5, 0.2, 0.3, 0.0],
    [0.3, 0.2, 0.4, 0.0],
    [0.2, 0.6, 0.3, 1],
)


def test_the_highest_channel_names_the_class() -> None:
    assert decode(SOFTMAX, "classes").ravel().tolist() == [0, 255, 32, 255]
    # Of equal values the first channel counts, also where all are 0.
    equal = _prediction(("class_3", "class_4"), [0.5, 0.0], [0.5, 0.0])
    assert decode(equal, "classes").ravel().tolist() == [3, 3]


def test_a_class_needs_its_threshold() -> None:
    found = decode(SOFTMAX, "classes", {"threshold": 0.5, "otherwise": 9})
    assert found.ravel().tolist() == [0, 255, 9, 255]
    # The next best class counts where the best has not what it needs.
    found = decode(SOFTMAX, "classes", {"thresholds": "255:0.7/0:0.6"})
    assert found.ravel().tolist() == [32, 32, 32, 255]


def test_foregrounds_are_classes_where_more_than_half() -> None:
    two = _prediction(
        ("mito.foreground", "synapse.foreground"), [0.6, 0.6, 0.4, 0.5], [0.1, 0.9, 0.45, 0.2]
    )
    assert decode(two, "classes").ravel().tolist() == [1, 2, 0, 0]
    assert decode(two, "classes", {"thresholds": "2:0.4"}).ravel().tolist() == [1, 2, 2, 0]
    assert METHODS.find("classes").classes(
        two.names, read_method_settings("classes", {}, two.offsets)
    ) == {
        1: "mito.foreground",
        2: "synapse.foreground",
    }


def test_it_is_chosen_for_classes_alone() -> None:
    assert choose_method("", SOFTMAX.names, SOFTMAX.offsets) == "classes"
    assert choose_method("", ("foreground",), (None,)) == "components"
    assert choose_method("", ("foreground", "contour"), (None, None)) == "contour"


def test_uint8_gives_the_same_classes() -> None:
    stored = np.rint(SOFTMAX.array * 255).astype(np.uint8)
    found = decode(Prediction(stored, SOFTMAX.names, SOFTMAX.offsets), "classes")
    np.testing.assert_array_equal(found, decode(SOFTMAX, "classes"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"thresholds": "0.5"}, "ID:VALUE"),
        ({"thresholds": "0:2"}, "from 0 to 1"),
        ({"min_size": "3"}, "makes none"),
    ],
)
def test_mistakes(settings, words) -> None:
    with pytest.raises(InputError, match=words):
        decode(SOFTMAX, "classes", settings)


def test_a_threshold_of_no_class_is_refused() -> None:
    settings = read_method_settings("classes", {"thresholds": "7:0.5"}, SOFTMAX.offsets)
    with pytest.raises(InputError, match=r"no class 7; there are 0 \(class_0\)"):
        METHODS.find("classes").classes(SOFTMAX.names, settings)
