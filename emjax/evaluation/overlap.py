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
    ids, right, true, found = _of_classes(table)
    return _each_and_mean("iou", ids, right / (true + found - right))


def class_dice(table: Contingency) -> dict[str, float]:
    """Returns two further scores of the classes of `class_overlap`.

    Args:
        table: as for `class_overlap`.

    Returns:
        `class_dice_<id>` of each class that occurs in either, their mean `class_mean_dice`, and `class_accuracy`, the
        share of voxels that have their class; empty for an empty table.
    """
    ids, right, true, found = _of_classes(table)
    scores = _each_and_mean("dice", ids, 2 * right / (true + found))
    if scores:
        scores["class_accuracy"] = float(right.sum() / true.sum())
    return scores


def confusion_matrix(table: Contingency) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes that occur in either, and the voxels of each pair of them.

    Args:
        table: table of the ids.

    Returns:
        `[k]` uint64 ids, sorted; `[k, k]` int64, the true class of a voxel down and the found one across.
    """
    ids = np.union1d(table.labels, table.segments)
    matrix = np.zeros((len(ids), len(ids)), np.int64)
    matrix[np.searchsorted(ids, table.labels), np.searchsorted(ids, table.segments)] = table.counts
    return ids, matrix


def _of_classes(table: Contingency) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the classes that occur in either, and the voxels that have each in both, in truth, and as found.

    Without the matrix of all pairs: ids that are no classes may be many.
    """
    ids, same = np.union1d(table.labels, table.segments), table.labels == table.segments

    def voxels(of: np.ndarray, counts: np.ndarray) -> np.ndarray:
        sizes = np.zeros(len(ids), np.int64)
        sizes[np.searchsorted(ids, of)] = counts
        return sizes

    right = voxels(table.labels[same], table.counts[same])
    return ids, right, voxels(*table.label_sizes()), voxels(*table.segment_sizes())


def _each_and_mean(name: str, ids: np.ndarray, values: np.ndarray) -> dict[str, float]:
    if not len(ids):
        return {}
    each = {f"class_{name}_{i}": float(value) for i, value in zip(ids, values, strict=True)}
    return each | {f"class_mean_{name}": float(values.mean())}


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
