"""Scores of a partition: variation of information, and the adapted Rand error."""

from __future__ import annotations

import numpy as np

from emjax.evaluation.contingency import Contingency


def variation_of_information(table: Contingency) -> dict[str, float]:
    """Conditional entropies between truth and segmentation, over all pairs of the table.

    Args:
        table: of true objects; leave out their background with `without_background`.

    Returns:
        `voi_split` = H(segmentation | truth), bits lost by cutting objects; `voi_merge` = H(truth | segmentation), by
        merging them; `voi`, their sum. Empty where nothing was counted.

    Source: Meila, "Comparing clusterings", doi:10.1016/j.jmva.2006.11.013; in bits, as CREMI and scikit-image have it.
    """
    if not table.voxels:
        return {}
    joint = _entropy(table.counts)
    split = joint - _entropy(table.label_sizes()[1])
    merge = joint - _entropy(table.segment_sizes()[1])
    # Rounding can leave -1e-16 where it is 0.
    split, merge = max(split, 0.0), max(merge, 0.0)
    return {"voi_split": split, "voi_merge": merge, "voi": split + merge}


def adapted_rand(table: Contingency) -> dict[str, float]:
    """Adapted Rand error: 1 - the F score of pairs of voxels that are in one object.

    Args:
        table: of true objects; leave out their background with `without_background`.

    Returns:
        `arand`, `arand_precision` (of the pairs that are together in a segment, those that belong together) and
        `arand_recall`; pairs of a voxel with another one, as scikit-image counts them. Empty where nothing was counted,
        and without precision or recall where there is no pair.

    Source: SNEMI3D, "Crowdsourcing the creation of image segmentation algorithms for connectomics",
    doi:10.3389/fnana.2015.00142.
    """
    if not table.voxels:
        return {}
    total = table.voxels
    together = _pairs(table.counts, total)
    in_segments = _pairs(table.segment_sizes()[1], total)
    in_labels = _pairs(table.label_sizes()[1], total)
    if in_segments + in_labels == 0:
        return {}
    scores = {"arand": 1 - 2 * together / (in_segments + in_labels)}
    if in_segments:
        scores["arand_precision"] = together / in_segments
    if in_labels:
        scores["arand_recall"] = together / in_labels
    return scores


def _entropy(counts: np.ndarray) -> float:
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log2(shares)))


def _pairs(counts: np.ndarray, total: int) -> float:
    """Sum of n (n - 1), in units of the square of the total so that no integer overflows."""
    shares = counts / total
    return float(np.sum(shares * (shares - 1 / total)))
