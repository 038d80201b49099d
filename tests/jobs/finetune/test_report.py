"""The picture of held-out crops says what is masked."""

from __future__ import annotations

import numpy as np

from emjax.jobs.finetune.report import draw_crops

ORANGE = (255, 127, 14)


def _colours(labels, truth):
    crop = {
        "image": np.zeros((4, 4)),
        "labels": np.asarray(labels),
        "truth": np.asarray(truth, float)[..., None],
        "prediction": np.zeros((4, 4, 1)),
    }
    picture = draw_crops([crop], ["distance"])
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def test_what_is_masked_is_no_background():
    known, background = np.ones((4, 4), int), np.zeros((4, 4), int)
    assert ORANGE not in _colours(background, background) | _colours(known, -known)
    assert ORANGE in _colours(-known, known)
    assert ORANGE in _colours(known, np.where(np.eye(4) > 0, np.nan, -1))
