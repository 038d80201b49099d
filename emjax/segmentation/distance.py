"""Instances of foreground and distance, with or without contour (BD, BCD)."""

from __future__ import annotations

import numpy as np

from emjax.segmentation.components import components
from emjax.segmentation.contour import seeded_watershed


def distance_watershed(
    foreground: np.ndarray,
    distance: np.ndarray,
    contour: np.ndarray | None = None,
    *,
    seed_foreground: float = 0.9,
    seed_contour: float = 0.8,
    seed_distance: float = 0.5,
    threshold: float = 0.85,
    min_seed_size: int = 0,
    connectivity: int = 6,
) -> np.ndarray:
    """Grows what is deep inside of one object over the foreground, down the distance.

    Args:
        foreground: `[z, y, x]` float32 in [0, 1].
        distance: `[z, y, x]` float32 in [0, 1], 1 in the middle of each object, 0 at its edge.
        contour: `[z, y, x]` float32 in [0, 1], or None where there is none.
        seed_foreground: seeds have more foreground than this
        seed_contour: and less contour than this
        seed_distance: and more distance than this.
        threshold: objects have more foreground than this.
        min_seed_size: smaller seeds are none, voxels.
        connectivity: of the components that are seeds, 6, 18 or 26.

    Returns:
        `[z, y, x]` uint64, 0 background; foreground without a seed is background.

    Source: Lin et al., "NucMM Dataset", MICCAI 2021, arXiv:2107.05840 (U3D-BCD). The distance is
    flooded, not the foreground: between objects that touch it has a valley, and the foreground has
    none.
    """
    certain = (foreground > seed_foreground) & (distance > seed_distance)
    if contour is not None:
        certain &= contour < seed_contour
    seeds = components(certain, connectivity)
    return seeded_watershed(1 - distance, seeds, foreground > threshold, min_seed_size)
