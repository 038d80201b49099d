"""How unsure a network is at each voxel, from its stored prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emjax.errors import InputError

# Channels that are probabilities of yes or no. Distances are not: their 0.5 is a value like any other.
_BINARY = ("affinity", "foreground", "contour")
_CLASS = "class_"


def groups(names: Sequence[str]) -> list[list[int]]:
    """Returns the channels of each target whose values are probabilities.

    Args:
        names: of the channels, as predictions store them, maybe with a group before a dot, as in `mito.foreground`.

    Raises:
        InputError: if no channel is a probability.
    """
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        group, dot, own = name.rpartition(".")
        if own.startswith(_CLASS):
            own = _CLASS
        if own in (*_BINARY, _CLASS):
            found.setdefault(f"{group}{dot}{own}", []).append(index)
    if not found:
        raise InputError(
            f"none of the prediction's channels ({', '.join(names)}) is a probability; uncertainty needs one of "
            f"{', '.join(_BINARY)} or classes"
        )
    return list(found.values())


def entropy(prediction: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns the uncertainty of each voxel: 0 where the network is sure, 1 where it knows nothing.

    The entropy of each target (of a yes-or-no channel in bits; of classes as a share of that of equal chances), as the
    mean over the channels of a target and then over targets, so that many affinities do not drown one foreground.

    Args:
        prediction: `[c, z, y, x]`, uint8 that means `prediction / 255`, or float in [0, 1].
        names: of the channels.

    Returns:
        `[z, y, x]` float32 in [0, 1].

    Raises:
        InputError: if no channel is a probability.

    Source: entropy as uncertainty of queries, Settles, "Active Learning Literature Survey" (2009), section 3.1. The
    means over targets are our choice.
    """
    found = groups(names)
    total = np.zeros(prediction.shape[1:], np.float32)
    for channels in found:
        values = prediction[channels]
        if names[channels[0]].rpartition(".")[2].startswith(_CLASS):
            total += _of_classes(_as_floats(values))
        else:
            total += (_BITS[values] if values.dtype == np.uint8 else _bits(values)).mean(axis=0)
    return total / np.float32(len(found))


def _as_floats(values: np.ndarray) -> np.ndarray:
    floats = values.astype(np.float32)
    return floats / np.float32(255) if values.dtype == np.uint8 else floats


def _bits(p: np.ndarray) -> np.ndarray:
    """Returns the entropy of yes-or-no probabilities, bits."""
    p = np.clip(p.astype(np.float32), 0, 1)
    return -(_p_log_p(p) + _p_log_p(1 - p))


def _of_classes(p: np.ndarray) -> np.ndarray:
    """Returns the entropy of `[k, ...]` probabilities of classes as a share of that of equal chances."""
    if len(p) == 1:
        return _bits(p[0])
    p = p / np.maximum(p.sum(axis=0), np.float32(1e-6))
    return -_p_log_p(p).sum(axis=0) / np.float32(np.log2(len(p)))


def _p_log_p(p: np.ndarray) -> np.ndarray:
    return p * np.log2(np.where(p > 0, p, 1))


# Of each stored byte, since a logarithm for each voxel takes ten times as long as looking it up.
_BITS = _bits(np.arange(256, dtype=np.float32) / 255)
