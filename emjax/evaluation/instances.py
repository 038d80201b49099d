"""All scores of instances that are computed from the contingency table alone."""

from __future__ import annotations

import numpy as np

from emjax.evaluation.average_precision import average_precision, mean_average_precision
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.overlap import foreground_overlap
from emjax.evaluation.partition import adapted_rand, variation_of_information


def score_instances(table: Contingency, *, score_background: bool = False) -> dict[str, float]:
    """Returns all scores of instances that follow from a table: name -> score.

    Args:
        table: table of the ids; includes the background of the truth.
        score_background: whether VOI and Rand error score the truth's background as an object, too.
    """
    judged = table if score_background else table.without_background()
    partition = variation_of_information(judged) | adapted_rand(judged)
    objects = {
        "labels": int(np.count_nonzero(table.label_sizes()[0])),
        "segments": int(np.count_nonzero(table.segment_sizes()[0])),
    }
    matched = average_precision(table) | mean_average_precision(table)
    return partition | matched | foreground_overlap(table) | objects | {"voxels": table.voxels}
