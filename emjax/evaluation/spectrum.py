"""Measures how many dimensions features use: a collapse shows here before it shows in a loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def effective_rank(tokens: np.ndarray) -> float:
    """Returns the exponential of the entropy of the normalized singular values of centred tokens.

    Args:
        tokens: `[n, d]`; values of different runs can be compared only at equal n and d (4,096
            tokens of the named level).

    Returns:
        1 (all tokens on a line) to min(n - 1, d) (equal spread in all directions); 0 if all
        tokens are equal, NaN if one is not finite.

    Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO
    2007.
    """
    tokens = np.asarray(tokens, np.float64)
    if not np.all(np.isfinite(tokens)):
        return float("nan")
    values = np.linalg.svd(tokens - tokens.mean(axis=0), compute_uv=False)
    # Centring equal tokens leaves rounding errors, which are no spread.
    values = values[values > 1e-10 * max(np.linalg.norm(tokens), 1e-30)]
    if not values.size:
        return 0.0
    shares = values / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def level_variances(levels: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the variance of each level's features over positions and crops, averaged over channels.

    Args:
        levels: name -> `[..., c]` features.

    Returns:
        name -> variance; near 0 if a level has collapsed to a constant.
    """
    variances = {}
    for name, features in levels.items():
        rows = np.asarray(features, np.float64).reshape(-1, np.shape(features)[-1])
        variances[name] = float(rows.var(axis=0).mean())
    return variances
