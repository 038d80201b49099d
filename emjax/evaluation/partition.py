"""Scores of a partition: the variation of information (VOI) and the adapted Rand error (ARAND)."""

from __future__ import annotations

import numpy as np

from emjax.evaluation.contingency import Contingency


def variation_of_information(table: Contingency) -> dict[str, float]:
    """Returns the conditional entropies between truth and segmentation, over all pairs of the table.

    Args:
        table: table of the ids; use `without_background` to score true objects only.

    Returns:
        `voi_split` = H(segmentation | truth), bits, from splitting objects; `voi_merge` = H(truth | segmentation),
        bits, from merging them; `voi`, their sum. Empty if no voxel was counted.

    Source: Meila, "Comparing clusterings", doi:10.1016/j.jmva.2006.11.013; in bits, as CREMI and scikit-image have it.
    """
    if not table.voxels:
        return {}
    joint = _entropy(table.counts)
    split = joint - _entropy(table.label_sizes()[1])
    merge = joint - _entropy(table.segment_sizes()[1])
    # Rounding can give -1e-16 instead of 0.
    split, merge = max(split, 0.0), max(merge, 0.0)
    return {"voi_split": split, "voi_merge": merge, "voi": split + merge}


def adapted_rand(table: Contingency) -> dict[str, float]:
    """Returns the adapted Rand error: 1 - the F score of pairs of voxels that are in one object.

    Args:
        table: table of the ids; use `without_background` to score true objects only.

    Returns:
        `arand`; `arand_precision`, the share of pairs within a segment that are also within an object; `arand_recall`,
        the share of pairs within an object that are also within a segment. Pairs are of two different voxels, as in
        scikit-image. Empty if there are no pairs; a share of no pairs is absent.

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
    """Returns the sum of n (n - 1), divided by the square of the total so that no integer overflows."""
    shares = counts / total
    return float(np.sum(shares * (shares - 1 / total)))
