"""The method `affinity_components`: components of voxels that are joined by affinities above a threshold."""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.compiled import compiled
from emjax.segmentation.clusters import joined
from emjax.segmentation.evidence import Evidence, Graph, joined_by_affinity
from emjax.segmentation.method import NEEDS_NEAREST, Memo, Method, Names, Offsets
from emjax.segmentation.prediction import Affinities, Prediction, has_nearest
from emjax.segmentation.settings import SizeSettings, number
from emjax.segmentation.sizes import limit_sizes
from emjax.segmentation.union_find import root_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class AffinityComponentsSettings(SizeSettings):
    """Voxels joined by nearest affinities; see `affinity_components`.

    Attributes:
        threshold: affinities above this join voxels.
    """

    threshold: float = number(0.5, 0, 1, grid=(0.5, 0.7, 0.8, 0.9, 0.95, 0.98))


def affinity_components(
    affinities: Affinities,
    threshold: float,
    within: np.ndarray | None = None,
    single: bool = False,
) -> np.ndarray:
    """Joins voxels by their nearest affinities, in time linear in the number of voxels.

    Args:
        affinities: only the nearest are read: the value at p joins p and p + o.
        threshold: affinities above this join voxels.
        within: `[z, y, x]` integers; only voxels with the same id above 0 are joined, so that this
            cuts a segmentation where weak affinities alone hold it together. None: all voxels.
        single: whether a voxel that is joined to no other is a component.

    Returns:
        `[z, y, x]` uint64, ids 1..n in the order of their first voxels; 0 for a voxel that is joined
        to no other, unless `single`.
    """
    chosen = affinities.nearest()
    parents: np.ndarray | None = None
    for index, offset in enumerate(chosen.offsets):
        values = np.ascontiguousarray(chosen[index])
        if parents is None:
            parents = np.arange(values.size)
            if within is None:
                within = np.ones((1, 1, 1), np.uint8)
            within = np.ascontiguousarray(np.broadcast_to(within, values.shape))
        _unite(values, np.array(offset), np.float32(threshold), within, parents)
    return _number(parents, single).reshape(values.shape)


@compiled
def _unite(values, offset, threshold, within, parents):
    """Joins voxels along one channel; changes `parents`."""
    depth, rows, columns = values.shape
    step = (offset[0] * rows + offset[1]) * columns + offset[2]
    for z in range(-offset[0], depth):
        for y in range(-offset[1], rows):
            for x in range(-offset[2], columns):
                if values[z, y, x] > threshold:
                    here = within[z, y, x]
                    if here == 0 or here != within[z + offset[0], y + offset[1], x + offset[2]]:
                        continue
                    voxel = (z * rows + y) * columns + x
                    a, b = root_of(parents, voxel), root_of(parents, voxel + step)
                    # The root is the first voxel, so that ids follow the order of first voxels.
                    if a < b:
                        parents[b] = a
                    elif b < a:
                        parents[a] = b


@compiled
def _number(parents, single):
    """Numbers the components in the order of their first voxels; those of one voxel only if `single`."""
    ids = np.zeros(parents.size, np.uint64)
    # A root precedes all other voxels of its component: the first of these gives it its number.
    last = np.uint64(0)
    for voxel in range(parents.size):
        if single or parents[voxel] != voxel:
            ids[root_of(parents, voxel)] = 1
    for voxel in range(parents.size):
        root = root_of(parents, voxel)
        if root != voxel:
            ids[voxel] = ids[root]
        elif ids[voxel] == 1:
            last += np.uint64(1)
            ids[voxel] = last
    return ids


def _fits(names: Names, offsets: Offsets) -> bool:
    del names
    return has_nearest(offsets)


def _fragments(prediction: Prediction, settings: AffinityComponentsSettings) -> np.ndarray:
    # Single voxels are kept: only other cells may know what they are joined to.
    return affinity_components(prediction.affinities(), settings.threshold, single=True)


def _across(settings: AffinityComponentsSettings) -> Evidence:
    return joined_by_affinity(settings.threshold)


def _partition(graph: Graph, settings: AffinityComponentsSettings, memo: Memo | None) -> np.ndarray:
    del memo
    (name,) = _across(settings)
    clusters = joined(graph.ids, graph.tables[name].pairs) if name in graph.tables else graph.ids
    return limit_sizes(clusters, graph.sizes, min_size=2)


METHOD = Method(
    summary="connected components of the voxels that affinities above a threshold join",
    settings=AffinityComponentsSettings,
    needs=NEEDS_NEAREST,
    fits=_fits,
    fragments=_fragments,
    across=_across,
    partition=_partition,
    halo=0,
)
