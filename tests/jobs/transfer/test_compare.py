"""Paired differences of arms, against counts done by hand."""

from __future__ import annotations

import numpy as np

from emjax.jobs.transfer.compare import paired_difference, scores, table
from emjax.targets.metrics import IntersectionOverUnion

IOU = IntersectionOverUnion("iou")


def sums(*crops):
    """Hits, false alarms and misses of each crop."""
    return np.array(crops, np.float64)


def test_scores_add_up_over_crops_before_they_are_divided():
    both = [sums((1, 1, 0), (3, 0, 3)), sums((0, 0, 0), (0, 0, 0))]
    found = scores(IOU, both)
    assert found[0] == 4 / 8 and np.isnan(found[1])


def test_a_difference_without_any_scatter_has_no_width():
    arm, base = [sums((2, 1, 1))] * 2, [sums((1, 1, 2))] * 2
    assert paired_difference(IOU, arm, base, 50) == ((0.25, 0.25), 0.25, 0.25, 0.25)


def test_an_interval_covers_what_other_crops_would_give():
    arm = [sums((8, 1, 1), (2, 4, 4)), sums((7, 2, 1), (3, 4, 3))]
    base = [sums((4, 3, 3), (2, 4, 4)), sums((4, 3, 3), (3, 4, 3))]
    found = paired_difference(IOU, arm, base, 200)
    # Of the second crop alone the arms are equal; of the first alone they differ by at most 0.4.
    assert found.low == 0 and found.mean < found.high <= 0.4 + 1e-12
    np.testing.assert_allclose(found.each, [10 / 20 - 6 / 20, 10 / 20 - 7 / 20])


def test_the_table_pairs_the_seeds_that_both_arms_have():
    one, two = {"val_iou": sums((2, 1, 1))}, {"val_iou": sums((1, 1, 2))}
    lines, numbers = table({"val_iou": IOU}, {"scratch": [two, two], "center": [one]}, 20)
    assert lines[-1] == "| center | 0.500 | 0.500 | +0.250 | +0.250 | +0.250 to +0.250 |"
    assert numbers["center_val_iou_difference"] == 0.25 and numbers["scratch_val_iou"] == 0.25
