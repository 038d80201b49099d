"""Overlap of the foregrounds of segmentation and truth, whatever the ids, and overlap of classes."""

from __future__ import annotations

import numpy as np

from emjax.evaluation.contingency import Contingency


def foreground_overlap(table: Contingency) -> dict[str, float]:
    """Scores the foreground mask, which is the union of all objects.

    Args:
        table: table of the ids; includes the background of the truth.

    Returns:
        `foreground_iou`, `mean_iou` (of foreground and background), `dice`, `precision`, `recall`; a score whose
        denominator is 0 is absent.
    """
    true, found = table.labels > 0, table.segments > 0
    both, alarms = (int(table.counts[m].sum()) for m in (true & found, ~true & found))
    misses, neither = (int(table.counts[m].sum()) for m in (true & ~found, ~true & ~found))
    scores = {
        "foreground_iou": _ratio(both, both + alarms + misses),
        "background_iou": _ratio(neither, neither + alarms + misses),
        "dice": _ratio(2 * both, 2 * both + alarms + misses),
        "precision": _ratio(both, both + alarms),
        "recall": _ratio(both, both + misses),
    }
    of_classes = [scores.pop("background_iou"), scores["foreground_iou"]]
    known = [value for value in of_classes if value is not None]
    scores["mean_iou"] = float(np.mean(known)) if known else None
    return {name: value for name, value in scores.items() if value is not None}


def class_overlap(table: Contingency) -> dict[str, float]:
    """Scores ids that stand for classes: id c of the segmentation is right where the truth is c.

    Args:
        table: table of the ids; includes the background of the truth, which is class 0.

    Returns:
        `class_iou_<id>` of each class that occurs in either, and their mean `class_mean_iou`; empty for an empty table.
    """
    same = table.labels == table.segments
    shared = dict(zip(table.labels[same].tolist(), table.counts[same].tolist(), strict=True))
    true = dict(zip(*(part.tolist() for part in table.label_sizes()), strict=True))
    found = dict(zip(*(part.tolist() for part in table.segment_sizes()), strict=True))
    ious = {
        label: shared.get(label, 0)
        / (true.get(label, 0) + found.get(label, 0) - shared.get(label, 0))
        for label in sorted(true.keys() | found.keys())
    }
    if not ious:
        return {}
    scores = {f"class_iou_{label}": iou for label, iou in ious.items()}
    return scores | {"class_mean_iou": float(np.mean(list(ious.values())))}


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
