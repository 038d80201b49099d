"""The tables of evidence that a method can ask for, and how each of them is gathered.

A table is gathered from parts of a volume that add up exactly (`emjax.segmentation.region_graph` describes its
contents); `emjax.segmentation.graph_files` stores tables on disk.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from emjax.geometry.sizes import Size
from emjax.segmentation.boundary import affinities_of, boundary_channel
from emjax.segmentation.prediction import NEAREST, Offset, Prediction
from emjax.segmentation.region_graph import EdgeStatistics, edge_statistics

Slices: TypeAlias = tuple[slice, ...]
# (prediction, fragments, own part) -> table of that part; see `edge_statistics` for `own`.
Gather: TypeAlias = Callable[[Prediction, np.ndarray, Slices | None], EdgeStatistics]


@dataclasses.dataclass(frozen=True)
class Table:
    """How one table is gathered.

    Attributes:
        gather: makes the table of a part of the volume.
        long_range: whether it reads the partners of voxels at all offsets of the prediction, not only at the nearest.
        contacts: whether it counts the faces that fragments share, and their affinities.
        steady: whether it looks at the voxels around each face, too.
    """

    gather: Gather
    long_range: bool = False
    contacts: bool = False
    steady: bool = False


# Name of a table -> how it is gathered. The name says everything that the table depends on besides the fragments, so
# tables of the same name are interchangeable.
Evidence: TypeAlias = Mapping[str, Table]


@dataclasses.dataclass(frozen=True)
class Graph:
    """Fragments and the evidence of their pairs.

    Attributes:
        ids: `[k]` uint64, sorted, without 0.
        sizes: `[k]` int64, voxels of each fragment.
        tables: name of a table -> its statistics.
    """

    ids: np.ndarray
    sizes: np.ndarray
    tables: Mapping[str, EdgeStatistics]


def near(histogram: bool = False, steady: bool = False) -> Evidence:
    """Returns the evidence of the nearest affinities; only contacts where there are no affinities.

    Args:
        histogram: whether it has histograms.
        steady: whether single affinities that stand out count less in its maximum, see `edge_statistics`.
    """
    name = f"near{'_histogram' * histogram}{'_steady' * steady}"

    def gather(prediction: Prediction, fragments: np.ndarray, own: Slices | None) -> EdgeStatistics:
        known = prediction.has_affinities or boundary_channel(prediction.names) is not None
        affinities = affinities_of(prediction).nearest() if known else None
        return edge_statistics(
            fragments, affinities, own=own, histogram=histogram and known, steady=steady
        )

    return {name: Table(gather, contacts=True, steady=steady)}


def near_and_far(histogram: bool = False, steady: bool = False) -> Evidence:
    """Returns the evidence of all affinities together, long-range ones included; arguments as of `near`."""
    name = f"all{'_histogram' * histogram}{'_steady' * steady}"

    def gather(prediction: Prediction, fragments: np.ndarray, own: Slices | None) -> EdgeStatistics:
        return edge_statistics(
            fragments, affinities_of(prediction), own=own, histogram=histogram, steady=steady
        )

    return {name: Table(gather, long_range=True, contacts=True, steady=steady)}


def far() -> Evidence:
    """Returns the evidence of the long-range affinities alone."""

    def gather(prediction: Prediction, fragments: np.ndarray, own: Slices | None) -> EdgeStatistics:
        return edge_statistics(fragments, prediction.affinities().long_range(), own=own)

    return {"far": Table(gather, long_range=True)}


def touching(connectivity: int) -> Evidence:
    """Returns the pairs of fragments that have neighbouring voxels.

    Args:
        connectivity: 6 (voxels that share a face), 18 (an edge) or 26 (a corner).
    """
    steps = neighbours(connectivity)

    def gather(_: Prediction, fragments: np.ndarray, own: Slices | None) -> EdgeStatistics:
        return _pairs(fragments, own, [(step, None) for step in steps])

    return {f"touching_{connectivity}": Table(gather)}


def joined_by_affinity(threshold: float) -> Evidence:
    """Returns the pairs of fragments that have voxels joined by a nearest affinity above a threshold."""

    def gather(prediction: Prediction, fragments: np.ndarray, own: Slices | None) -> EdgeStatistics:
        chosen = prediction.affinities().nearest()
        links = [(o, chosen[i] > np.float32(threshold)) for i, o in enumerate(chosen.offsets)]
        return _pairs(fragments, own, links)

    return {f"joined_{threshold}": Table(gather)}


def reach(evidence: Evidence, offsets: Sequence[Offset | None]) -> Size:
    """Returns how far, (z, y, x) voxels, what the tables need lies from a voxel: its partners, and those around it.

    Args:
        evidence: the tables.
        offsets: of the channels of the prediction.
    """
    if not evidence:
        return (0, 0, 0)
    long_range = any(table.long_range for table in evidence.values())
    used = [o for o in offsets if o is not None] if long_range else []
    around = int(any(table.steady for table in evidence.values()))
    z, y, x = (around + max(-o[axis] for o in (*NEAREST, *used)) for axis in range(3))
    return z, y, x


def neighbours(connectivity: int) -> list[Offset]:
    """Returns one of the two steps to each pair of opposite neighbours: 3, 9 or 13 steps."""
    most = {6: 1, 18: 2, 26: 3}[connectivity]
    sides = (-1, 0, 1)
    steps = itertools.product(sides, sides, sides)
    # Of two opposite steps, the one whose first non-zero number is negative.
    return [s for s in steps if 0 < sum(map(abs, s)) <= most and s < (0, 0, 0)]


def _pairs(
    fragments: np.ndarray,
    own: Slices | None,
    links: Sequence[tuple[Offset, np.ndarray | None]],
) -> EdgeStatistics:
    """Counts the links between different fragments, from the voxels of `own` to their partners."""
    shape = fragments.shape
    bounds = [p.indices(n)[:2] for p, n in zip(own or [slice(None)] * 3, shape, strict=True)]
    found = []
    for step, where in links:
        here = tuple(
            slice(max(start, -s), min(stop, n - s))
            for (start, stop), s, n in zip(bounds, step, shape, strict=True)
        )
        there = tuple(slice(p.start + s, p.stop + s) for p, s in zip(here, step, strict=True))
        a, b = fragments[here], fragments[there]
        linked = (a != b) & (a != 0) & (b != 0)
        if where is not None:
            linked &= where[here]
        found.append(np.stack([a[linked], b[linked]], axis=1))
    ends = np.sort(np.concatenate(found).astype(np.uint64), axis=1)
    pairs, counts = np.unique(ends, axis=0, return_counts=True)
    nothing = np.zeros(len(pairs), np.int64)
    return EdgeStatistics(pairs, counts.astype(np.int64), nothing, nothing, nothing)
