"""The method `components`: connected components of the voxels above a threshold in one channel."""

from __future__ import annotations

import dataclasses

import cc3d
import numpy as np

from emjax.errors import InputError
from emjax.segmentation.clusters import joined
from emjax.segmentation.evidence import Evidence, Graph, touching
from emjax.segmentation.method import Memo, Method, Names, Offsets, has
from emjax.segmentation.prediction import Prediction
from emjax.segmentation.settings import SizeSettings, choice, number

CONNECTIVITIES = (6, 18, 26)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComponentsSettings(SizeSettings):
    """Connected components of one channel; see `components`.

    Attributes:
        channel: name of the channel: 'foreground', 'signed_distance' (0.5 is the edge), 'class_2'...
        threshold: voxels above this belong to objects.
        connectivity: number of neighbours of a voxel, 6, 18 or 26.
        min_size: voxels; smaller objects are removed.
    """

    channel: str = choice("foreground", ())
    threshold: float = number(0.5, 0, 1, grid=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
    connectivity: int = choice(6, CONNECTIVITIES)
    min_size: int = number(128, 0, later=True)


def components(mask: np.ndarray, connectivity: int = 6) -> np.ndarray:
    """Returns the connected components of a mask.

    Args:
        mask: `[z, y, x]` bool.
        connectivity: 6 (voxels that share a face), 18 (an edge) or 26 (a corner).

    Returns:
        `[z, y, x]` uint64, ids 1..n; 0 where the mask is False.

    Raises:
        InputError: if the connectivity is another number.
    """
    if connectivity not in CONNECTIVITIES:
        raise InputError(
            f"connectivity={connectivity} is unknown; use {' or '.join(map(str, CONNECTIVITIES))}"
        )
    return cc3d.connected_components(mask, connectivity=connectivity, out_dtype=np.uint64)


def _fits(names: Names, offsets: Offsets) -> bool:
    del names
    return any(offset is None for offset in offsets)


def _fragments(prediction: Prediction, settings: ComponentsSettings) -> np.ndarray:
    mask = prediction.channel(settings.channel) > settings.threshold
    return components(mask, settings.connectivity)


def _across(settings: ComponentsSettings) -> Evidence:
    return touching(settings.connectivity)


def _partition(graph: Graph, settings: ComponentsSettings, memo: Memo | None) -> np.ndarray:
    del memo
    (name,) = _across(settings)
    return joined(graph.ids, graph.tables[name].pairs) if name in graph.tables else graph.ids


METHOD = Method(
    summary="connected components of what is above a threshold",
    settings=ComponentsSettings,
    needs="a channel to threshold, such as 'foreground'",
    fits=_fits,
    # For all other channels, the user has to name one.
    by_default=has("foreground"),
    fragments=_fragments,
    across=_across,
    partition=_partition,
    halo=0,
)
