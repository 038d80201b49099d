"""Weighted sums along one axis of an array, compiled."""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled


@compiled
def add_weighted(
    source: np.ndarray, indices: np.ndarray, weights: np.ndarray, found: np.ndarray
) -> None:
    """Writes to each place of an axis the weighted sum of some places of it.

    It adds in the order of the taps, each product rounded, so that no size of a box changes a bit.

    Args:
        source: `[a, m, b]` float32.
        indices: `[taps, n]` places along the middle axis.
        weights: `[taps, n]` float32.
        found: `[a, n, b]` float32, is overwritten.
    """
    taps, count = indices.shape
    for a in range(source.shape[0]):
        for j in range(count):
            for b in range(source.shape[2]):
                found[a, j, b] = weights[0, j] * source[a, indices[0, j], b]
            for k in range(1, taps):
                weight, index = weights[k, j], indices[k, j]
                for b in range(source.shape[2]):
                    found[a, j, b] += weight * source[a, index, b]
