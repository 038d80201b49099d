"""Contradictions of labels: thick ones count, borders that lie apart do not."""

from __future__ import annotations

import numpy as np

from emjax.annotation.disagreement import contradicted


def _case():
    """A square that the network sees and labels lack, and a border that the two draw one voxel apart."""
    truth, prediction = np.zeros((2, 1, 1, 16, 16), np.float32)
    prediction[0, 0, 2:6, 2:6] = 0.95
    truth[0, 0, :, 10:] = 1
    prediction[0, 0, :, 11:] = 1
    return prediction, truth, np.ones(truth.shape, bool)


def test_a_missing_object_is_found_and_a_moved_border_is_not():
    yes, no = contradicted(*_case(), least=0.8, thickness=3)
    assert yes.sum() == 16 and yes[0, 2:6, 2:6].all()
    assert not no.any()


def test_without_thickness_every_voxel_counts():
    yes, no = contradicted(*_case(), least=0.8, thickness=1)
    assert (yes.sum(), no.sum()) == (16, 16)


def test_unsure_and_unknown_voxels_contradict_nothing():
    prediction, truth, known = _case()
    assert not contradicted(prediction, truth, known, least=0.99, thickness=3)[0].any()
    assert not any(m.any() for m in contradicted(prediction, truth, ~known, 0.5, 1))
