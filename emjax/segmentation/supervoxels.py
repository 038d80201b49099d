"""Fragments of a prediction, as the settings say, and which voxels belong to any object."""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled
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
    return affinities_of_boundary(prediction.channel(_boundary(prediction)))


def make_fragments(prediction: Prediction, settings: FragmentSettings) -> np.ndarray:
    """Returns fragments `[z, y, x]` uint64, ids 1..n, of affinities, or of a membrane or contour."""
    affinities = affinities_of(prediction)
    mask = foreground_mask(prediction, affinities, settings.foreground_threshold)
    near = affinities.nearest()
    membrane = None if prediction.has_affinities else prediction.channel(_boundary(prediction))
    axes = (1, 2) if settings.plane else (0, 1, 2)
    if membrane is not None and settings.flood == "boundary":
        # Nobody asks for what the membrane implies.
        axes = ()

    def cut(part: slice | int) -> np.ndarray:
        edges = [near.read(axis, part) for axis in axes]
        return watershed(
            affinity_boundary(edges, settings.boundary) if membrane is None else membrane[part],
            threshold=settings.boundary_threshold,
            seeds=settings.seeds,
            sigma_seeds=settings.sigma_seeds,
            sigma_weights=settings.sigma_weights,
            boundary_weight=settings.boundary_weight,
            min_size=settings.min_fragment,
            mask=None if mask is None else mask[part],
            edges=edges if settings.flood == "affinities" else None,
        )

    if not settings.plane:
        return cut(slice(None)).astype(np.uint64)
    # One section after the other: what is made of one stays in the processor's cache.
    fragments = np.empty(prediction.shape, np.uint64)
    last = 0
    for z, section in enumerate(fragments):
        last = _append(cut(z), last, section)
    return fragments


def _boundary(prediction: Prediction) -> str:
    return next(name for name in BOUNDARIES if name in prediction.names)


@compiled
def _append(found, last, section):
    """Writes ids 1..n to a section as `last` + 1, ...; returns the new last one."""
    most = last
    for y in range(found.shape[0]):
        for x in range(found.shape[1]):
            own = np.int64(found[y, x])
            section[y, x] = own + last if own > 0 else 0
            most = max(most, own + last)
    return most


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
