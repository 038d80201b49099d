"""The methods `contour` and `distance`: seeds lie surely inside one object, and grow over the foreground.

Seeds lie where the foreground is high and the contour low (BC), or, with a distance, far from the edge (BD, BCD).
"""

from __future__ import annotations

import dataclasses

import bioimage_cpp.segmentation as bioimage
import numpy as np

from emjax.segmentation.method import Method, Names, Offsets, has
from emjax.segmentation.methods.components import CONNECTIVITIES, components
from emjax.segmentation.prediction import Prediction
from emjax.segmentation.settings import StitchSettings, choice, number
from emjax.segmentation.sizes import remove_small

# Channels with the distance to the edge; the first that exists is taken.
DISTANCES = ("distance", "skeleton_distance", "signed_distance")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContourSettings(StitchSettings):
    """Foreground and contour (BC); see `contour_watershed`.

    Attributes:
        seed_foreground: seeds have more foreground than this.
        seed_contour: seeds have less contour than this.
        threshold: objects have more foreground than this.
        min_seed_size: voxels; smaller seeds are ignored.
        connectivity: of the components that are seeds, 6, 18 or 26.
        min_size: voxels; smaller objects are removed.
    """

    seed_foreground: float = number(0.9, 0, 1, grid=(0.5, 0.7, 0.8, 0.9, 0.95))
    seed_contour: float = number(0.8, 0, 1, grid=(0.2, 0.3, 0.5, 0.8))
    threshold: float = number(0.85, 0, 1, grid=(0.3, 0.5, 0.7, 0.85))
    min_seed_size: int = number(32, 0)
    connectivity: int = choice(6, CONNECTIVITIES)
    min_size: int = number(128, 0, later=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistanceSettings(ContourSettings):
    """Foreground and distance, and contour where there is one (BD, BCD).

    See `distance_watershed`.

    Attributes:
        seed_distance: seeds have a larger distance: than this share of the object's largest, or, of a signed
            distance, than this.
    """

    seed_distance: float = number(0.5, 0, 1, grid=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7))


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
    """Grows seeds that lie surely inside one object over the foreground.

    Args:
        foreground: `[z, y, x]` float32 in [0, 1].
        contour: `[z, y, x]` float32 in [0, 1].
        seed_foreground: seeds have more foreground than this,
        seed_contour: and less contour than this.
        threshold: objects have more foreground than this.
        min_seed_size: voxels; smaller seeds are ignored.
        connectivity: of the components that are seeds, 6, 18 or 26.

    Returns:
        `[z, y, x]` uint64, 0 background; foreground without a seed is background.

    Source: Wei et al., "MitoEM Dataset", MICCAI 2020, doi:10.1007/978-3-030-59722-1_7 (U3D-BC).
    """
    seeds = components((foreground > seed_foreground) & (contour < seed_contour), connectivity)
    return seeded_watershed(1 - foreground, seeds, foreground > threshold, min_seed_size)


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
    """Grows seeds that lie deep inside one object over the foreground, from high to low distance.

    Args:
        foreground: `[z, y, x]` float32 in [0, 1].
        distance: `[z, y, x]` float32 in [0, 1], 1 in the middle of each object, 0 at its edge.
        contour: `[z, y, x]` float32 in [0, 1]; None if there is none.
        seed_foreground: seeds have more foreground than this,
        seed_contour: less contour than this,
        seed_distance: and a larger distance than this.
        threshold: objects have more foreground than this.
        min_seed_size: voxels; smaller seeds are ignored.
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


def seeded_watershed(
    heights: np.ndarray, seeds: np.ndarray, mask: np.ndarray, min_seed_size: int = 0
) -> np.ndarray:
    """Floods heights in [0, 1] from seeds within a mask.

    Args:
        heights: `[z, y, x]` float32, flooded from the lowest.
        seeds: `[z, y, x]` uint64.
        mask: `[z, y, x]` bool; False becomes 0.
        min_seed_size: voxels; smaller seeds are ignored.

    Returns:
        `[z, y, x]` uint64.
    """
    seeds = remove_small(seeds, min_seed_size)
    return bioimage.watershed(
        np.ascontiguousarray(heights, np.float32), seeds, mask=np.ascontiguousarray(mask)
    )


def _of_contour(prediction: Prediction, settings: ContourSettings) -> np.ndarray:
    return contour_watershed(
        prediction.channel("foreground"),
        prediction.channel("contour"),
        seed_foreground=settings.seed_foreground,
        seed_contour=settings.seed_contour,
        threshold=settings.threshold,
        min_seed_size=settings.min_seed_size,
        connectivity=settings.connectivity,
    )


def _of_distance(prediction: Prediction, settings: DistanceSettings) -> np.ndarray:
    name = next(name for name in DISTANCES if name in prediction.names)
    return distance_watershed(
        prediction.channel("foreground"),
        prediction.channel(name),
        prediction.channel("contour") if "contour" in prediction.names else None,
        seed_foreground=settings.seed_foreground,
        seed_contour=settings.seed_contour,
        # A signed distance v is stored as (v + 1) / 2, and 0 is the edge.
        seed_distance=(settings.seed_distance + 1) / 2
        if name == "signed_distance"
        else settings.seed_distance,
        threshold=settings.threshold,
        min_seed_size=settings.min_seed_size,
        connectivity=settings.connectivity,
    )


def _has_distance(names: Names, offsets: Offsets) -> bool:
    del offsets
    return "foreground" in names and not set(DISTANCES).isdisjoint(names)


CONTOUR = Method(
    summary="seeds where foreground is high and contour low, then a watershed (BC)",
    settings=ContourSettings,
    needs="'foreground' and 'contour'",
    fits=has("foreground", "contour"),
    fragments=_of_contour,
    stitched=True,
)

DISTANCE = Method(
    summary="seeds where foreground is high and the edge far, low contour if there is one, then a watershed (BD, BCD)",
    settings=DistanceSettings,
    needs="'foreground', and 'distance', 'skeleton_distance' or 'signed_distance'",
    fits=_has_distance,
    fragments=_of_distance,
    stitched=True,
)
