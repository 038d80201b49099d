"""Average precision of instances: objects count as found at a threshold of intersection over union (IoU)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emjax.evaluation.contingency import Contingency

THRESHOLDS = (0.5, 0.75)
# Literals, since 0.5 + 0.05 is not exactly 0.55, while an IoU of 11 of 20 voxels is.
RANGE = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
# Voxels: MitoEM's evaluation (mAP_3Dvolume, `--threshold 5e3,1.5e4`) calls objects below 5,000 small and those above
# 15,000 large, whatever their voxels measure (8x8x30 nm there). An object of just 15,000 is large here.
SMALL, LARGE = 5_000, 15_000


def match_instances(table: Contingency) -> np.ndarray:
    """Returns how well each object overlaps with each segment that shares voxels with it.

    Args:
        table: table of the ids; includes the background of the truth, whose voxels count in the unions.

    Returns:
        `[n]` records (`label`, `segment`, `iou`, `label_size`, `segment_size`) of all pairs that share a voxel; sizes
        in voxels.
    """
    both = (table.labels > 0) & (table.segments > 0)
    labels, label_sizes = table.label_sizes()
    segments, segment_sizes = table.segment_sizes()
    of_label = label_sizes[np.searchsorted(labels, table.labels[both])]
    of_segment = segment_sizes[np.searchsorted(segments, table.segments[both])]
    shared = table.counts[both]
    kinds = [
        ("label", "u8"),
        ("segment", "u8"),
        ("iou", "f8"),
        ("label_size", "i8"),
        ("segment_size", "i8"),
    ]
    pairs = np.empty(len(shared), kinds)
    pairs["label"], pairs["segment"] = table.labels[both], table.segments[both]
    pairs["iou"] = shared / (of_label + of_segment - shared)
    pairs["label_size"], pairs["segment_size"] = of_label, of_segment
    return pairs


def average_precision(
    table: Contingency, thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, float]:
    """Scores which objects were found, at each of several thresholds of IoU.

    At 0.5 and above a segment can match at most one object, so that no assignment has to be solved.

    Args:
        table: table of the ids; includes the background of the truth.
        thresholds: least IoU of a match, 0.5 or more.

    Returns:
        For each threshold in percent, such as `ap_50`: `ap_*` = tp / (tp + fp + fn) (the average precision of StarDist,
        and of MitoEM without confidences), `precision_*`, `recall_*`, `f1_*`, `panoptic_quality_*`; and `ap_*_small`,
        `_medium`, `_large` by the size of the object, or of a segment without a match. Scores without anything to
        score are absent.

    Raises:
        ValueError: if a threshold is below 0.5.

    Source: StarDist, arXiv:1806.03535; MitoEM, doi:10.1007/978-3-030-59722-1_7, whose challenge now ranks by this
    accuracy at 0.75; its numbers before 2023 are areas under precision-recall curves of segments ordered by a
    confidence, and are not comparable. Panoptic quality: arXiv:1801.00868.
    """
    if any(threshold < 0.5 for threshold in thresholds):
        raise ValueError("thresholds below 0.5 do not give unique matches")
    pairs = match_instances(table)
    labels, label_sizes = table.label_sizes()
    segments, segment_sizes = table.segment_sizes()
    label_sizes, segment_sizes = label_sizes[labels > 0], segment_sizes[segments > 0]
    segments = segments[segments > 0]
    scores: dict[str, float] = {}
    for threshold in thresholds:
        found = _unique(pairs[pairs["iou"] >= threshold])
        name = f"{round(100 * threshold)}"
        hits = len(found)
        alarms, misses = len(segment_sizes) - hits, len(label_sizes) - hits
        if hits + alarms + misses == 0:
            continue
        scores[f"ap_{name}"] = hits / (hits + alarms + misses)
        scores[f"f1_{name}"] = 2 * hits / (2 * hits + alarms + misses)
        scores[f"panoptic_quality_{name}"] = float(
            found["iou"].sum() / (hits + 0.5 * alarms + 0.5 * misses)
        )
        if hits + alarms:
            scores[f"precision_{name}"] = hits / (hits + alarms)
        if hits + misses:
            scores[f"recall_{name}"] = hits / (hits + misses)
        wrong = segment_sizes[~np.isin(segments, found["segment"])]
        for kind in ("small", "medium", "large"):
            hits = int(np.count_nonzero(_class(found["label_size"]) == kind))
            misses = int(np.count_nonzero(_class(label_sizes) == kind)) - hits
            alarms = int(np.count_nonzero(_class(wrong) == kind))
            if hits + misses:
                scores[f"ap_{name}_{kind}"] = hits / (hits + misses + alarms)
    return scores


def mean_average_precision(table: Contingency) -> dict[str, float]:
    """Returns `ap_50_95`, the mean of `ap` at 0.5, 0.55, ..., 0.95; empty if there is nothing to score.

    Args:
        table: table of the ids; includes the background of the truth.
    """
    scores = average_precision(table, RANGE)
    values = [scores[f"ap_{round(100 * t)}"] for t in RANGE if f"ap_{round(100 * t)}" in scores]
    return {"ap_50_95": float(np.mean(values))} if values else {}


def _class(sizes: np.ndarray) -> np.ndarray:
    return np.select([sizes < SMALL, sizes < LARGE], ["small", "medium"], "large")


def _unique(found: np.ndarray) -> np.ndarray:
    """Keeps one pair for each object and segment: at an IoU of exactly 0.5 two may match, and the smaller ids win."""
    found = np.sort(found, order=["label", "segment"])
    for side in ("label", "segment"):
        found = found[np.unique(found[side], return_index=True)[1]]
    return found
