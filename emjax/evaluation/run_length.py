"""Expected run length: how far one can follow a neurite before the segmentation has an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.geometry.sizes import Triple
from emjax.skeletons.skeleton import Skeleton

# Added before rounding down, since a point on the face between two voxels belongs to the upper one, and 0.3 / 0.1 is
# 2.9999999999999996. Voxels.
_ROUNDING = 1e-6


def voxels_of(skeleton: Skeleton, voxel_nm: Triple) -> np.ndarray:
    """Returns the voxels that the points of a skeleton lie in.

    Args:
        skeleton: skeleton whose positions count from the corner of voxel 0: voxel i reaches from i to i + 1 voxel
            sizes.
        voxel_nm: (z, y, x) voxel size, nm.

    Returns:
        `[n, 3]` int64 z, y, x.
    """
    return np.floor(skeleton.positions / np.asarray(voxel_nm) + _ROUNDING).astype(np.int64)


def blocks_of(voxels: np.ndarray, grid: Grid) -> np.ndarray:
    """Returns the number of the block that each voxel lies in.

    Args:
        voxels: `[n, 3]` z, y, x, all in the grid's outer box.
        grid: grid of the blocks.

    Returns:
        `[n]` int64, numbers of the blocks.
    """
    place = (voxels - np.asarray(grid.outer.start)) // np.asarray(grid.core_size)
    return np.asarray(np.ravel_multi_index(tuple(place.T), grid.shape))


def look_up(voxels: np.ndarray, read: Callable[[Box], np.ndarray]) -> np.ndarray:
    """Reads the ids of single voxels of a block; reads only the box around them.

    Args:
        voxels: `[n, 3]` z, y, x of one or more voxels.
        read: box -> `[z, y, x]` ids.

    Returns:
        `[n]` uint64 ids.
    """
    low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
    ids = read(Box.between(tuple(map(int, low)), tuple(map(int, high))))
    return ids[tuple((voxels - low).T)].astype(np.uint64)


def expected_run_length(
    skeletons: Sequence[Skeleton], segments: Sequence[np.ndarray], merge_points: int = 1
) -> dict[str, float]:
    """Scores a segmentation against skeletons, each of which is one neuron.

    An edge is *omitted* if one of its points lies in no segment (0), *split* if they lie in two segments, *merged* if
    they lie in one that is a merger, i.e. has points of more than one neuron; otherwise it is *correct*. The run length
    at a place on a neuron is the length of the neuron's correct edges in the segment there, or 0 if the edge there is
    wrong; the expected run length is its mean over all places.

    Args:
        skeletons: the true neurons.
        segments: for each skeleton `[n]` uint64, the segment at each of its points; 0: none.
        merge_points: number of points that a neuron needs in a segment to count for a merger; more than 1 tolerates
            points that were placed on the wrong side of a membrane.

    Returns:
        `erl_nm`; `erl_normalized`, which is `erl_nm` divided by that of a segmentation without errors;
        `skeleton_correct`, `skeleton_split`, `skeleton_merged`, `skeleton_omitted`: shares of the length;
        `skeleton_mergers`: number of mergers. Empty if the skeletons have no length.

    Source: Januszewski et al., "High-precision automated reconstruction of neurons with flood-filling networks",
    doi:10.1038/s41592-018-0049-4. As in the paper, and unlike an older version of funlib.evaluate, a merger spoils its
    own edges and not all of the neurons that it joins.
    """
    lengths = [skeleton.edge_lengths for skeleton in skeletons]
    total = math.fsum(length for part in lengths for length in part)
    if not total:
        return {}
    mergers = _mergers(segments, merge_points)
    squares, perfect = [], []
    sums: dict[str, list[float]] = {"correct": [], "split": [], "merged": [], "omitted": []}
    for skeleton, length, ids in zip(skeletons, lengths, segments, strict=True):
        here, there = ids[skeleton.edges].T
        omitted = (here == 0) | (there == 0)
        split = ~omitted & (here != there)
        merged = ~omitted & ~split & np.isin(here, mergers)
        correct = ~(omitted | split | merged)
        kinds = {"correct": correct, "split": split, "merged": merged, "omitted": omitted}
        for kind, mask in kinds.items():
            sums[kind].append(math.fsum(length[mask]))
        perfect.append(math.fsum(length) ** 2)
        for segment in np.unique(here[correct]):
            squares.append(math.fsum(length[correct & (here == segment)]) ** 2)
    scores = {"erl_nm": math.fsum(squares) / total}
    scores["erl_normalized"] = math.fsum(squares) / math.fsum(perfect)
    scores |= {f"skeleton_{kind}": math.fsum(parts) / total for kind, parts in sums.items()}
    return scores | {"skeleton_mergers": len(mergers)}


def _mergers(segments: Sequence[np.ndarray], merge_points: int) -> np.ndarray:
    """Returns the segments in which more than one skeleton has enough points."""
    owners = []
    for ids in segments:
        found, counts = np.unique(ids[ids > 0], return_counts=True)
        owners.append(found[counts >= merge_points])
    found, counts = np.unique(np.concatenate([np.zeros(0, np.uint64), *owners]), return_counts=True)
    return found[counts > 1]
