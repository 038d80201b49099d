"""Each metric by hand; sums of crops add up; what nothing decides has no score."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from emjax.targets.metrics import F1, ClassMeanIou, IntersectionOverUnion, MeanAbsoluteError

UNIT = [0.9, 0.9, 0.9, 0.2, 0.2, 0.9]
VALUE = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]
MASK = [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]


def _channel(row) -> jnp.ndarray:
    """`[1, 1, 1, x, 1]`."""
    return jnp.asarray(row, jnp.float32).reshape(1, 1, 1, -1, 1)


def _score(metric, unit=UNIT, value=VALUE, mask=MASK):
    return metric.score(np.asarray(metric.sums(*map(_channel, (unit, value, mask))), np.float64))


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        # Two hits, a false alarm and a miss; of what is 0 one hit, a miss and a false alarm.
        (IntersectionOverUnion("m"), 2 / 4),
        (F1("m"), 4 / 6),
        (IntersectionOverUnion("m", of="zeros"), 1 / 3),
        (F1("m", of="zeros"), 2 / 4),
        (MeanAbsoluteError("m"), (0.1 + 0.1 + 0.9 + 0.8 + 0.2) / 5),
        # Stored 0.9 is 0.8, stored 0.2 is -0.6.
        (MeanAbsoluteError("m", lowest=-1.0), (0.2 + 0.2 + 0.8 + 1.6 + 0.6) / 5),
    ],
)
def test_by_hand(metric, wanted):
    assert _score(metric) == pytest.approx(wanted, rel=1e-6)


def test_class_mean_iou_is_of_the_classes_that_occur():
    unit = jnp.asarray([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.2, 0.1, 0.7]])
    value = jnp.asarray([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]], jnp.float32)
    mask = jnp.asarray([[1] * 3] * 3 + [[0] * 3], jnp.float32)
    metric = ClassMeanIou("m")
    shape = (1, 1, 1, 4, 3)
    sums = metric.sums(unit.reshape(shape), value.reshape(shape), mask.reshape(shape))
    # Class 0: one hit, one false alarm; class 1: one hit, one miss; class 2 is nowhere known.
    assert metric.score(np.asarray(sums)) == pytest.approx(1 / 2)


@pytest.mark.parametrize("metric", [F1("m"), IntersectionOverUnion("m"), MeanAbsoluteError("m")])
def test_sums_of_parts_are_those_of_the_whole(metric):
    parts = [
        np.asarray(metric.sums(*(_channel(row[part]) for row in (UNIT, VALUE, MASK))))
        for part in (slice(0, 2), slice(2, 6))
    ]
    assert metric.score(np.sum(parts, axis=0)) == pytest.approx(_score(metric))


@pytest.mark.parametrize(
    "metric",
    [F1("m"), IntersectionOverUnion("m"), MeanAbsoluteError("m"), ClassMeanIou("m")],
)
def test_without_known_voxels_there_is_no_score(metric):
    assert _score(metric, mask=[0.0] * 6) is None
