"""TEASAR: middle lines of a mask by shortest paths that keep to its middle."""

from __future__ import annotations

import numpy as np
from bioimage_cpp.skeleton import teasar

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.skeletons.skeleton import Skeleton, rooted


def trace_mask(
    mask: np.ndarray,
    depth: np.ndarray,
    spacing: Triple = (1.0, 1.0, 1.0),
    scale: float = 1.5,
    constant: float = 2.0,
) -> Skeleton:
    """Skeletonises each piece of a mask.

    Args:
        mask: `[z, y, x]` bool.
        depth: `[z, y, x]` float32, distance of each voxel from the edge of the mask: the radius of points there.
        spacing: (z, y, x) sides of a voxel.
        scale: of the distance from the edge, and
        constant: added to it: what is so near to a path needs no path of its own. Larger values leave out twigs.

    Returns:
        A tree for each piece, in the unit of the spacing; a point is at the centre of a voxel, and 0 at that of the
        first.

    Raises:
        InputError: if the mask is one voxel thin along an axis: all of it would be at the edge.

    Source: Sato et al., "TEASAR: tree-structure extraction algorithm for accurate and robust skeletons",
    doi:10.1109/PCCGA.2000.883951. The implementation is that of bioimage-cpp.
    """
    if 1 in mask.shape:
        raise InputError(
            f"method 'teasar' needs depth, and this stack is {mask.shape} voxels (z, y, x); give "
            "--config.method=marching"
        )
    vertices, edges, _ = teasar(
        np.ascontiguousarray(mask, np.uint8), spacing=spacing, scale=scale, constant=constant
    )
    voxels = np.rint(vertices / spacing).astype(np.int64)
    return rooted(vertices, edges.astype(np.int64).reshape(-1, 2), depth[tuple(voxels.T)])
