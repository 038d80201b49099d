"""Flows: followed to their sinks by hand, and objects back from the flow that points to their centres."""

from __future__ import annotations

import numpy as np

from emjax.segmentation.methods import choose_method, decode
from emjax.segmentation.methods.flow import follow, sinks
from emjax.segmentation.prediction import Prediction


def test_a_row_flows_to_its_middle() -> None:
    inside = np.zeros((1, 1, 9), bool)
    inside[..., 1:8] = True
    along = np.zeros((1, 1, 9), np.float32)
    along[..., 1:4], along[..., 5:8] = 1, -1
    nothing = np.zeros((1, 1, 1), np.float32)
    places = follow((nothing, nothing, along), inside)
    assert places.tolist() == [[0, 0, 4]] * 7
    assert sinks(places, inside, 7).ravel().tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert not sinks(places, inside, 8).any()


def test_what_flows_out_of_the_foreground_or_the_volume_stops() -> None:
    inside = np.ones((1, 1, 4), bool)
    along = np.full((1, 1, 4), -1, np.float32)
    nothing = np.zeros((1, 1, 1), np.float32)
    assert follow((nothing, nothing, along), inside)[:, 2].tolist() == [0, 0, 0, 0]


def _discs() -> tuple[np.ndarray, np.ndarray]:
    """Three touching columns through sections, and the unit vectors to their centres."""
    z, y, x = np.indices((3, 24, 36))
    labels = np.where((x % 12 > 0) | (y % 2 > 0), x // 12 + 1, 0) * ((y > 2) & (y < 21))
    centre = np.stack([np.full(z.shape, 12), labels * 12 - 6])
    away = centre - np.stack([y, x])
    flow = away / np.maximum(np.sqrt((away**2).sum(0)), 1)
    return labels, np.where(labels > 0, flow, 0)


def test_touching_objects_come_apart_and_go_through_sections() -> None:
    labels, flow = _discs()
    names = ("foreground", "flow_y", "flow_x")
    array = np.stack([labels > 0, *((flow + 1) / 2)]).astype(np.float32)
    prediction = Prediction(array, names, (None,) * 3)
    assert choose_method("", names, (None,) * 3) == "flow"
    np.testing.assert_array_equal(decode(prediction, "flow"), labels)


def test_no_foreground_is_no_object() -> None:
    array = np.full((3, 2, 4, 4), 0.5, np.float32)
    prediction = Prediction(array, ("foreground", "flow_y", "flow_x"), (None,) * 3)
    assert not decode(prediction, "flow").any()
