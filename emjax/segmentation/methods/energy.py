"""The method `energy`: levels of the distance to the edge become a distance, then a watershed as of `distance`."""

from __future__ import annotations

import dataclasses
import re

import edt
import numpy as np

from emjax.segmentation.method import Method, Names, Offsets
from emjax.segmentation.methods.components import CONNECTIVITIES, components
from emjax.segmentation.methods.seeded_watershed import seeded_watershed
from emjax.segmentation.prediction import Prediction
from emjax.segmentation.settings import StitchSettings, choice, number
from emjax.segmentation.sizes import remove_small

_LEVEL = re.compile(r"energy_(\d+)")
# Voxels from a seed at which half of what its nearness is worth is gone.
_HALF_WAY = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnergySettings(StitchSettings):
    """Seeds of high levels, grown over what is no background; see `decode_energy`.

    Attributes:
        seed_foreground: seeds are foreground with more probability than this.
        seed_distance: seeds have a larger distance, as a share of the object's largest.
        threshold: objects are foreground with more probability than this.
        min_seed_size: voxels; smaller seeds are ignored.
        connectivity: of the components that are seeds, 6, 18 or 26.
        min_size: voxels; smaller objects are removed.
    """

    seed_foreground: float = number(0.5, 0, 1, grid=(0.3, 0.5, 0.7, 0.9))
    seed_distance: float = number(0.5, 0, 1, grid=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7))
    threshold: float = number(0.5, 0, 1, grid=(0.3, 0.5, 0.7))
    min_seed_size: int = number(0, 0)
    connectivity: int = choice(6, CONNECTIVITIES)
    min_size: int = number(128, 0, later=True)


def decode_energy(prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Returns the foreground and the expected distance of the levels' probabilities.

    Args:
        prediction: with channels 'energy_0' (background) to 'energy_N'; read one after another.

    Returns:
        Two arrays `[z, y, x]` float32 in [0, 1]: one minus the probability of background, and the sum of each level's
        probability times the middle of the level.

    Source: the mean mode of the decoder of PyTorch Connectomics.
    """
    levels = sum(bool(_LEVEL.fullmatch(name)) for name in prediction.names) - 1
    foreground = 1 - prediction.channel("energy_0")
    distance = np.zeros_like(foreground)
    for level in range(1, levels + 1):
        distance += prediction.channel(f"energy_{level}") * np.float32((level - 0.5) / levels)
    return foreground, distance


def _fits(names: Names, offsets: Offsets) -> bool:
    del offsets
    found = {int(m[1]) for name in names if (m := _LEVEL.fullmatch(name))}
    return len(found) > 2 and found == set(range(len(found)))


def _fragments(prediction: Prediction, settings: EnergySettings) -> np.ndarray:
    foreground, distance = decode_energy(prediction)
    certain = (foreground > settings.seed_foreground) & (distance > settings.seed_distance)
    seeds = remove_small(components(certain, settings.connectivity), settings.min_seed_size)
    if not seeds.any():
        return seeds
    # Voxels of one level are flooded from the nearest seed; by less than a level, so that levels keep their order.
    away = edt.edt(seeds == 0, parallel=1)
    nearer = away / (away + _HALF_WAY) / (2 * len(prediction.names))
    return seeded_watershed(1 - distance + nearer, seeds, foreground > settings.threshold)


METHOD = Method(
    summary="the expected distance of its levels, then a watershed as of `distance`",
    settings=EnergySettings,
    needs="'energy_0' to 'energy_N'",
    fits=_fits,
    fragments=_fragments,
    stitched=True,
)
