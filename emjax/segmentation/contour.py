"""Instances of foreground and contour (BC), and of foreground, contour and distance (BCD)."""

from __future__ import annotations

import bioimage_cpp.segmentation as bioimage
import numpy as np

from emjax.segmentation.components import components
from emjax.segmentation.sizes import remove_small


def contour_watershed(
    foreground: np.ndarray,
    contour: np.ndarray,
    *,
    seed_foreground: float = 0.9,
    seed_contour: float = 0.8,
    threshold: float = 0.85,
    min_seed_size: int = 0,
    connectivity: int = 6,
) -> np.ndarray:
    """Grows what is surely inside of one object over the foreground.

    Args:
        foreground: `[z, y, x]` float32 in [0, 1].
        contour: `[z, y, x]` float32 in [0, 1].
        seed_foreground: seeds have more foreground than this
        seed_contour: and less contour than this.
        threshold: objects have more foreground than this.
        min_seed_size: smaller seeds are none, voxels.
        connectivity: of the components that are seeds, 6, 18 or 26.

    Returns:
        `[z, y, x]` uint64, 0 background; foreground without a seed is background.

    Source: Wei et al., "MitoEM Dataset", MICCAI 2020, doi:10.1007/978-3-030-59722-1_7 (U3D-BC).
    """
    seeds = components((foreground > seed_foreground) & (contour < seed_contour), connectivity)
    return seeded_watershed(1 - foreground, seeds, foreground > threshold, min_seed_size)


def seeded_watershed(
    heights: np.ndarray, seeds: np.ndarray, mask: np.ndarray, min_seed_size: int = 0
) -> np.ndarray:
    """Floods heights in [0, 1] from seeds within a mask.

    Args:
        heights: `[z, y, x]` float32, flooded from the lowest.
        seeds: `[z, y, x]` uint64.
        mask: `[z, y, x]` bool; False becomes 0.
        min_seed_size: smaller seeds are none, voxels.

    Returns:
        `[z, y, x]` uint64.
    """
    seeds = remove_small(seeds, min_seed_size)
    return bioimage.watershed(
        np.ascontiguousarray(heights, np.float32), seeds, mask=np.ascontiguousarray(mask)
    )
