"""Connected components: of what is above a threshold, or of voxels that affinities join."""

from __future__ import annotations

import cc3d
import numpy as np

from emjax.compiled import compiled
from emjax.errors import InputError
from emjax.segmentation.prediction import Affinities

CONNECTIVITIES = (6, 18, 26)


def components(mask: np.ndarray, connectivity: int = 6) -> np.ndarray:
    """Returns the connected components of a mask.

    Args:
        mask: `[z, y, x]` bool.
        connectivity: 6 (voxels that share a face), 18 (an edge) or 26 (a corner).

    Returns:
        `[z, y, x]` uint64, ids 1..n; 0 where the mask is False.

    Raises:
        InputError: another connectivity.
    """
    if connectivity not in CONNECTIVITIES:
        raise InputError(
            f"connectivity={connectivity} is unknown; use {' or '.join(map(str, CONNECTIVITIES))}"
        )
    return cc3d.connected_components(mask, connectivity=connectivity, out_dtype=np.uint64)


def affinity_components(
    affinities: Affinities,
    threshold: float,
    within: np.ndarray | None = None,
    single: bool = False,
) -> np.ndarray:
    """Joins voxels by their nearest affinities; time is linear in the number of voxels.

    Args:
        affinities: the nearest are read: the value at p joins p and p + o.
        threshold: voxels are joined where the affinity is above.
        within: `[z, y, x]` integers; only voxels with the same id above 0 are joined, so that this
            cuts a segmentation where weak affinities alone hold it together. None: all voxels.
        single: whether a voxel that is joined to none is a component.

    Returns:
        `[z, y, x]` uint64, ids 1..n in the order of their first voxels; 0 for a voxel that is joined
        to none, unless `single`.
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
def root_of(parents, voxel):
    """The first voxel of the component, halving the path on the way."""
    while parents[voxel] != voxel:
        parents[voxel] = parents[parents[voxel]]
        voxel = parents[voxel]
    return voxel


@compiled
def _unite(values, offset, threshold, within, parents):
    """Joins along one channel; `parents` is changed."""
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
                    # The root is the first voxel, so that ids come out in that order.
                    if a < b:
                        parents[b] = a
                    elif b < a:
                        parents[a] = b


@compiled
def _number(parents, single):
    """Ids of the components, in the order of their first voxels; of one voxel only if `single`."""
    ids = np.zeros(parents.size, np.uint64)
    # A root comes before all others of its component: the first of these gives it its number.
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
