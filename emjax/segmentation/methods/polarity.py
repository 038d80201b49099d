"""The method `polarity`: synapses, each a pair of ids: 2n - 1 on its pre-synaptic side, 2n on its post-synaptic one."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from emjax.segmentation.method import Method, Names, Offsets
from emjax.segmentation.methods.components import CONNECTIVITIES, components
from emjax.segmentation.prediction import Prediction
from emjax.segmentation.settings import StitchSettings, choice, number


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolaritySettings(StitchSettings):
    """Synapses with two sides; see `synapses` and `sides`.

    Attributes:
        threshold: of 'pre', 'post' and 'synapse', a side has more; of channels that exclude each other ('no_synapse')
            the highest counts instead.
        dilation: voxels within a section, at most; sides that are this near to each other, twice, are one synapse.
        connectivity: of the voxels of a synapse, 6, 18 or 26.
        pairs: whether ids are those of the sides, 2n - 1 and 2n; else both sides have the id n of the synapse.
        min_size: voxels of both sides together; smaller synapses are removed.
    """

    threshold: float = number(0.5, 0, 1, grid=(0.3, 0.5, 0.7, 0.9))
    dilation: int = number(2, 0, grid=(0, 2, 5))
    connectivity: int = choice(26, CONNECTIVITIES)
    pairs: bool = choice(True, (True, False), later=True)
    min_size: int = number(128, 0, later=True)


def sides(prediction: Prediction, threshold: float) -> np.ndarray:
    """Returns the side of each voxel: 0 none, 1 pre-synaptic, 2 post-synaptic; `[z, y, x]` uint8.

    A voxel that is above the threshold on both sides belongs to the higher one, of equal ones to the pre-synaptic one.
    """
    pre, post = prediction.channel("pre"), prediction.channel("post")
    higher = np.where(pre >= post, np.uint8(1), np.uint8(2))
    most = np.maximum(pre, post)
    if "no_synapse" in prediction.names:
        inside = most > prediction.channel("no_synapse")
    else:
        inside = (most > threshold) & (prediction.channel("synapse") > threshold)
    return np.where(inside, higher, np.uint8(0))


def synapses(found: np.ndarray, dilation: int = 2, connectivity: int = 26) -> np.ndarray:
    """Returns one id for both sides of each synapse.

    Args:
        found: `[z, y, x]`, the side of each voxel, 0 where there is none.
        dilation: voxels by which sides are widened within their section before those that touch are joined.
        connectivity: of the widened sides.

    Returns:
        `[z, y, x]` uint64, ids 1..n, only where there is a side.

    Source: the decoder of PyTorch Connectomics, whose dilation of 5 is a window of 5 voxels, 2 to each side.
    """
    inside = found > 0
    window = 2 * dilation + 1
    wide = (
        ndimage.maximum_filter(inside, (1, window, window), mode="constant") if dilation else inside
    )
    return np.where(inside, components(wide, connectivity), np.uint64(0))


def _fits(names: Names, offsets: Offsets) -> bool:
    del offsets
    return {"pre", "post"} <= set(names) and not {"synapse", "no_synapse"}.isdisjoint(names)


def _fragments(prediction: Prediction, settings: PolaritySettings) -> np.ndarray:
    found = sides(prediction, settings.threshold)
    return synapses(found, settings.dilation, settings.connectivity)


def _pairs(prediction: Prediction, objects: np.ndarray, settings: PolaritySettings) -> np.ndarray:
    if not settings.pairs:
        return objects
    second = sides(prediction, settings.threshold) == 2
    return np.where(objects > 0, 2 * objects - 1 + second, np.uint64(0)).astype(np.uint64)


METHOD = Method(
    summary="synapses: both sides where they meet; ids 2n - 1 (pre) and 2n (post)",
    settings=PolaritySettings,
    needs="'pre' and 'post', and 'synapse' or 'no_synapse'",
    fits=_fits,
    fragments=_fragments,
    parts=_pairs,
    stitched=True,
)
