"""Fragments of a prediction, as the settings say, and which voxels belong to any object."""

from __future__ import annotations

import numpy as np

from emjax.segmentation.fragments import affinity_boundary, watershed
from emjax.segmentation.prediction import (
    Affinities,
    Prediction,
    affinities_of_boundary,
    partners,
)
from emjax.segmentation.settings import FragmentSettings

# Channels that fragments can be made of where there are no affinities, the first that is there.
BOUNDARIES = ("membrane", "contour")


def affinities_of(prediction: Prediction) -> Affinities:
    """Returns the affinities of a prediction, or those that its membrane or contour implies."""
    if prediction.has_affinities:
        return prediction.affinities()
    name = next(name for name in BOUNDARIES if name in prediction.names)
    return affinities_of_boundary(prediction.channel(name))


def make_fragments(prediction: Prediction, settings: FragmentSettings) -> np.ndarray:
    """Returns fragments `[z, y, x]` uint64 of affinities, or of a membrane or contour."""
    affinities = affinities_of(prediction)
    if prediction.has_affinities:
        boundary = affinity_boundary(affinities, plane=settings.plane, combine=settings.boundary)
    else:
        name = next(name for name in BOUNDARIES if name in prediction.names)
        boundary = prediction.channel(name)
    return watershed(
        boundary,
        threshold=settings.boundary_threshold,
        plane=settings.plane,
        seeds=settings.seeds,
        sigma_seeds=settings.sigma_seeds,
        sigma_weights=settings.sigma_weights,
        boundary_weight=settings.boundary_weight,
        min_size=settings.min_fragment,
        mask=foreground_mask(prediction, affinities, settings.foreground_threshold),
        affinities=affinities if settings.flood == "affinities" else None,
    )


def foreground_mask(
    prediction: Prediction, affinities: Affinities, threshold: float
) -> np.ndarray | None:
    """Returns which voxels belong to any object, `[z, y, x]` bool, or None: all of them.

    By the foreground channel, or without one by the highest nearest affinity to any neighbour.
    """
    if not threshold:
        return None
    if "foreground" in prediction.names:
        return prediction.channel("foreground") >= threshold
    best = np.zeros(prediction.shape, np.float32)
    chosen = affinities.nearest()
    for index, offset in enumerate(chosen.offsets):
        values = chosen[index]
        here, there = partners(offset, values.shape)
        np.maximum(best[here], values[here], out=best[here])
        np.maximum(best[there], values[here], out=best[there])
    return best >= threshold
