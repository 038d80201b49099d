"""The scores of instances together."""

from __future__ import annotations

import numpy as np

from emjax.evaluation.contingency import Contingency
from emjax.evaluation.instances import score_instances


def test_background_is_judged_when_asked():
    labels = np.asarray([[[0, 0, 1, 1, 2, 2]]])
    found = np.asarray([[[5, 6, 1, 1, 2, 2]]])
    table = Contingency.from_arrays(labels, found)
    scores = score_instances(table)
    assert (scores["voi"], scores["arand"], scores["ap_75"]) == (0, 0, 2 / 4)
    assert (scores["labels"], scores["segments"], scores["voxels"]) == (2, 4, 6)
    # Two of six voxels of background are cut: a third of a bit.
    assert np.isclose(score_instances(table, score_background=True)["voi_split"], 1 / 3)
