"""The method `mutex`: nearest affinities join voxels, long-range ones keep them apart, the strongest first."""

from __future__ import annotations

import dataclasses

import bioimage_cpp.graph as graphs
import bioimage_cpp.segmentation as bioimage
import numpy as np
from bioimage_cpp.graph.mutex_watershed import mutex_watershed_clustering

from emjax.errors import InputError
from emjax.geometry.sizes import Size
from emjax.segmentation.clusters import smallest_ids
from emjax.segmentation.evidence import Evidence, Graph, far
from emjax.segmentation.fragments import foreground_mask
from emjax.segmentation.method import (
    NEEDS_NEAREST,
    STITCHES,
    Memo,
    Method,
    Names,
    Offsets,
    each_alone,
)
from emjax.segmentation.methods.affinity_components import affinity_components
from emjax.segmentation.prediction import Affinities, Prediction, has_nearest
from emjax.segmentation.settings import SizeSettings, number


@dataclasses.dataclass(frozen=True, kw_only=True)
class MutexSettings(SizeSettings):
    """Voxels joined and kept apart by affinities; see `mutex_watershed`.

    Attributes:
        strides: (z, y, x) voxels between the voxels whose long-range affinities are used; 1/1/1 uses all
            of them, cuts more and takes some fifteen times as long.
        threshold: parts that are held together only by affinities of this or less are cut apart.
        foreground_threshold: as in `FragmentSettings`.
    """

    strides: Size = number((2, 8, 8), 1, grid=((1, 4, 4), (2, 8, 8), (4, 8, 8), (4, 16, 16)))
    threshold: float = number(0.0, 0, 1, grid=(0.0, 0.1, 0.3))
    foreground_threshold: float = number(0.0, 0, 1)


def mutex_watershed(
    affinities: Affinities,
    *,
    strides: Size = (1, 1, 1),
    threshold: float = 0.0,
    mask: np.ndarray | None = None,
    start: Size = (0, 0, 0),
) -> np.ndarray:
    """Partitions voxels so that no two voxels that a long-range affinity separates are joined.

    A nearest affinity a joins two voxels with strength a, a long-range one keeps them apart with
    strength 1 - a; all of them are visited in the order of their strength.

    Args:
        affinities: nearest and at least one long-range offset.
        strides: (z, y, x) voxels between the voxels whose long-range affinities are used; larger strides are faster
            and join more.
        threshold: parts that are held together only by affinities of this or less are cut apart; voxels that nothing
            else joins become background.
        mask: `[z, y, x]` bool; False stays background.
        start: (z, y, x) of the first voxel in a larger volume, so that all parts of that use the same long-range
            affinities.

    Returns:
        `[z, y, x]` uint64, ids 1..n, 0 background.

    Raises:
        InputError: if there is no long-range affinity.

    Source: Wolf et al., "The Mutex Watershed and its Objective", arXiv:1904.12654. The cut at the
    threshold is ours: without it, voxels that no constraint separates are joined even by an
    affinity of 0.
    """
    near, far = affinities.nearest(), affinities.long_range()
    if not len(far):
        raise InputError(
            "mutex needs long-range affinities to know what is apart, and the prediction has only "
            f"{_shown(near.offsets)}; train with targets='affinities?offsets=long', or use 'agglomerate'"
        )
    # Voxels that are masked, before the first ones, put the others where the strides count from the volume's start.
    before = tuple(first % step for first, step in zip(start, strides, strict=True))
    inner = tuple(slice(n, None) for n in before)
    shape = tuple(n + m for n, m in zip(before, affinities[0].shape, strict=True))
    if any(before):
        used = np.zeros(shape, bool)
        used[inner] = True if mask is None else mask
        mask = used
    weights = np.zeros((len(near) + len(far), *shape), np.float32)
    for i in range(len(near)):
        weights[i][inner] = near[i]
    for i in range(len(far)):
        weights[len(near) + i][inner] = 1 - far[i]
    found = bioimage.mutex_watershed(
        weights,
        near.offsets + far.offsets,
        len(near),
        strides=None if strides == (1, 1, 1) else list(strides),
        mask=mask,
    )
    return affinity_components(near, threshold, within=found[inner])


def _shown(offsets: tuple[Size, ...]) -> str:
    return " ".join(",".join(map(str, offset)) for offset in offsets)


def _fits(names: Names, offsets: Offsets) -> bool:
    del names
    return has_nearest(offsets) and sum(o is not None for o in offsets) > 3


def _fragments(prediction: Prediction, settings: MutexSettings) -> np.ndarray:
    affinities = prediction.affinities()
    return mutex_watershed(
        affinities,
        strides=settings.strides,
        threshold=settings.threshold,
        mask=foreground_mask(prediction, affinities, settings.foreground_threshold),
        start=prediction.start,
    )


def _across(settings: MutexSettings) -> Evidence:
    del settings
    return far()


def _partition(graph: Graph, settings: MutexSettings, memo: Memo | None) -> np.ndarray:
    """Joins the objects of all cells as `mutex_watershed` joins voxels.

    What a cell keeps apart, no affinity is to join. So two objects of neighbouring cells are joined by the share of
    their voxels that they have in common, and two objects are kept apart by one minus the mean of the long-range
    affinities between them, the strongest first: where a cell did not see what keeps two of its neighbour's objects
    apart, the neighbour's affinities do.
    """
    if STITCHES not in graph.tables:
        return each_alone(graph, settings, memo)
    together, apart = graph.tables[STITCHES], graph.tables["far"]
    apart = apart.select(apart.count > 0)
    if not len(together):
        return graph.ids
    ends, mutexes = (
        np.searchsorted(graph.ids, table.pairs).astype(np.uint64) for table in (together, apart)
    )
    objects = graphs.UndirectedGraph.from_unique_edges(len(graph.ids), ends)
    # Equal strengths are taken in the order of the pairs, which is that of the ids.
    found = mutex_watershed_clustering(objects, together.mean, mutexes, 1 - apart.mean)
    return smallest_ids(graph.ids, found)


METHOD = Method(
    summary="mutex watershed of the voxels",
    settings=MutexSettings,
    needs=f"{NEEDS_NEAREST} and long-range ones",
    fits=_fits,
    fragments=_fragments,
    across=_across,
    partition=_partition,
    overlapped=True,
    # What keeps two objects apart may be far from where they touch.
    halo=64,
)
