"""The linear probe: how well a linear classifier predicts a label from features.

It is fitted on one part of a labelled volume and scored on another, at least a receptive field away.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.optimize import minimize
from scipy.special import expit

from emjax.errors import InputError
from emjax.volumes.label_ids import LabelIds


def membrane_target(
    labels: np.ndarray,
    *,
    ignore: Collection[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Makes a membrane mask from instance labels: voxels whose 3x3 neighbourhood in the section has two or more ids.

    Args:
        labels: `[z, y, x]` integer ids. Every id is an object of its own, 0 included, except those
            that are ignored.
        ignore: ids that are ignored, besides negative ones and the largest uint64. They make no
            boundary; a voxel next to them is not valid unless it is at a boundary of two other
            ids, since an unknown boundary may be there.

    Returns:
        Target `[z, y, x]` bool, and valid `[z, y, x]` bool, False where the target is unknown.

    Raises:
        InputError: if the labels are not integers.

    Source: the border widening of arXiv:2308.09917's code, where it is for ids > 0 only; the rest
    is our choice.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iub":
        raise InputError(f"labels are {labels.dtype}; membranes are made from integer ids")
    # Dense ids keep their order and fit a signed type, which 64-bit unsigned ids do not.
    ids, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape).astype(np.int32)
    ignored = LabelIds(ignore=tuple(ignore)).unknown(ids)[dense]
    window = (1, 3, 3)
    # Two ids meet where the least and the greatest id of the window differ, ignored voxels left
    # out.
    least = minimum_filter(np.where(ignored, len(ids), dense), window, mode="nearest")
    greatest = maximum_filter(np.where(ignored, -1, dense), window, mode="nearest")
    target = least < greatest
    beside_ignored = np.asarray(maximum_filter(ignored, window, mode="nearest"), bool)
    return target & ~ignored, ~ignored & (target | ~beside_ignored)


def linear_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    *,
    ridge: float = 1e-3,
    max_iterations: int = 200,
) -> dict[str, float]:
    """Fits a logistic regression on one part and scores it on another.

    Features are standardized with the mean and spread of the training part, and both classes have
    equal weight in the fit.

    Args:
        train_features: `[n, d]` features.
        train_labels: `[n]` bool or {0, 1}.
        test_features: `[m, d]` features.
        test_labels: `[m]` bool or {0, 1}.
        ridge: weight of half the squared length of the slope, relative to the mean loss.
        max_iterations: most iterations of L-BFGS.

    Returns:
        `average_precision` (at chance level it is the share of positives), `roc_auc`, and `f1` at
        the threshold that is best on the training part.

    Raises:
        InputError: if a part lacks one of the classes, or features are not finite.
    """
    parts = []
    for name, features, labels in (
        ("training", train_features, train_labels),
        ("test", test_features, test_labels),
    ):
        features, labels = np.asarray(features, np.float64), np.asarray(labels).astype(bool)
        if labels.all() or not labels.any():
            raise InputError(f"the {name} part of the probe has one class only; choose another box")
        if not np.all(np.isfinite(features)):
            raise InputError(
                f"the {name} features of the probe are not all finite; the network diverged"
            )
        parts.append((features, labels))
    (train, train_labels), (test, test_labels) = parts
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    train, test = (train - mean) / spread, (test - mean) / spread

    slope, offset = _fit_logistic(train, train_labels, ridge, max_iterations)
    train_scores, test_scores = train @ slope + offset, test @ slope + offset
    threshold = _best_threshold(train_labels, train_scores)
    return {
        "average_precision": average_precision(test_labels, test_scores),
        "roc_auc": roc_auc(test_labels, test_scores),
        "f1": _f1(test_labels, test_scores >= threshold),
    }


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the area under the stepwise precision-recall curve.

    It is the sum over distinct scores of the precision there times the recall gained there.

    Args:
        labels: `[n]` bool with at least one positive.
        scores: `[n]`, greater for positives. Equal scores are one threshold.
    """
    positives, counted, _ = _curve(labels, scores)
    gained = np.diff(positives, prepend=0)
    return float(np.sum(gained * positives / counted) / positives[-1])


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the probability that a positive scores above a negative, where ties count half.

    Args:
        labels: `[n]` bool with both classes.
        scores: `[n]`, greater for positives.
    """
    positives, counted, _ = _curve(labels, scores)
    negatives = counted - positives
    x = np.concatenate([[0], negatives / negatives[-1]])
    y = np.concatenate([[0], positives / positives[-1]])
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


def _fit_logistic(
    features: np.ndarray, labels: np.ndarray, ridge: float, max_iterations: int
) -> tuple[np.ndarray, float]:
    share = labels.mean()
    weights = np.where(labels, 0.5 / share, 0.5 / (1 - share)) / len(labels)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offset = parameters[:-1], parameters[-1]
        scores = features @ slope + offset
        value = np.sum(weights * (np.logaddexp(0, scores) - labels * scores))
        residual = weights * (expit(scores) - labels)
        gradient = np.append(features.T @ residual + ridge * slope, residual.sum())
        return value + 0.5 * ridge * slope @ slope, gradient

    start = np.zeros(features.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iterations})
    return found.x[:-1], float(found.x[-1])


def _curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the numbers of positives and of samples at or above each distinct score, and the scores, descending."""
    labels, scores = np.asarray(labels).astype(bool), np.asarray(scores)
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    return np.cumsum(labels)[last], last + 1, scores[last]


def _best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    positives, counted, thresholds = _curve(labels, scores)
    return float(thresholds[np.argmax(2 * positives / (counted + positives[-1]))])


def _f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(2 * np.sum(labels & predicted) / (labels.sum() + predicted.sum()))
