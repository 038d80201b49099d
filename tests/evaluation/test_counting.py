"""Blocks count what the whole has, and agree on what is known and what is background."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emjax.evaluation.boundaries import BoundaryCounts, BoundaryTolerance
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.counting import Counts, Pair, count_block
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.volumes.label_ids import UNLABELLED, LabelIds

from .whole import score_clefts

SHAPE = (6, 14, 17)


def _ids(seed: int, dtype: type) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    return np.digitize(noise, np.quantile(noise, [0.2, 0.4, 0.6, 0.8])).astype(dtype)


def _pair(labels: np.ndarray, found: np.ndarray, mask: np.ndarray | None = None, **ids) -> Pair:
    arrays = (labels, found, mask)
    reads = [a if a is None else (lambda box, a=a: a[box.slices]) for a in arrays]
    return Pair(*reads, **ids)


def _whole() -> Box:
    return Box((0, 0, 0), SHAPE)


@pytest.mark.parametrize("dtype", [np.int16, np.uint64])
@pytest.mark.parametrize("of_foreground", [True, False])
def test_blocks_make_no_difference(dtype, of_foreground):
    labels, found = _ids(0, dtype), _ids(1, np.uint32)
    labels[labels == 4] = dtype(-1) if dtype is np.int16 else UNLABELLED
    mask = np.random.default_rng(0).random(SHAPE) > 0.1
    pair = _pair(labels, found, mask, label_ids=LabelIds((1,), (3,)))
    tolerance = BoundaryTolerance(2, (2, 1, 1), False)
    arguments = {"tolerance": tolerance, "of_foreground": of_foreground}
    whole = count_block(pair, Grid(_whole(), SHAPE)[0], **arguments)
    assert whole.boundaries.found and whole.boundaries.true and whole.table.voxels
    for size in ((1, 14, 17), (4, 5, 6)):
        parts = [count_block(pair, b, **arguments) for b in Grid(_whole(), size, tolerance.halo)]
        table = Contingency.total(part.table for part in parts)
        for name in ("labels", "segments", "counts"):
            assert np.array_equal(getattr(table, name), getattr(whole.table, name))
        assert BoundaryCounts.total(part.boundaries for part in parts) == whole.boundaries


def test_masks_and_tables_agree():
    labels, found = _ids(0, np.int32), _ids(1, np.uint8)
    labels[0] = -1
    pair = _pair(labels, found, label_ids=LabelIds((0, 2), (3, 999, 2**63)))
    true, seen = pair.foregrounds(_whole())
    table = count_block(pair, Grid(_whole(), SHAPE)[0]).table
    assert true.sum() == table.without_background().voxels == np.isin(labels, (1, 4)).sum()
    assert seen.sum() == table.counts[table.segments > 0].sum()
    known = pair.known(labels, _whole())
    assert known.sum() == table.voxels and not known[0].any()


def test_the_largest_id_is_background_where_it_is_named_so():
    labels = np.full(SHAPE, UNLABELLED, np.uint64)
    labels[2:4, 3:9, 3:9] = 7
    found = (labels == 7).astype(np.uint8)
    assert count_block(_pair(labels, found), Grid(_whole(), SHAPE)[0]).table.voxels == 72
    pair = _pair(labels, found, label_ids=LabelIds((UNLABELLED,)))
    counts = count_block(pair, Grid(_whole(), SHAPE)[0], surfaces=True)
    assert counts.table.voxels == labels.size and counts.table.without_background().voxels == 72
    assert len(counts.true_surface) == len(counts.found_surface) == 72
    assert score_clefts(*pair.foregrounds(_whole()), (40, 4, 4))["cremi_cleft"] == 0
    ignored = _pair(labels, found, label_ids=LabelIds((UNLABELLED,), (UNLABELLED,)))
    assert count_block(ignored, Grid(_whole(), SHAPE)[0]).table.voxels == 72


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.uint64])
def test_any_type_of_integers(dtype):
    labels = np.zeros(SHAPE, dtype)
    labels[1:4, 2:7, 2:7] = 1
    pair = _pair(labels, labels, label_ids=LabelIds(ignore=(249, -3, 2**40)))
    tolerance = BoundaryTolerance(0, (1, 1, 1), False)
    counts = count_block(pair, Grid(_whole(), SHAPE)[0], tolerance=tolerance, surfaces=True)
    assert counts.table.counts.tolist() == [labels.size - 75, 75]
    assert counts.boundaries.scores()["boundary_f1"] == 1
    assert len(counts.true_surface) == 75 - 9


def test_counts_come_back_from_files():
    pair = _pair(_ids(0, np.int32), _ids(1, np.uint8))
    tolerance = BoundaryTolerance(1, (1, 1, 1), False)
    for how in ({}, {"tolerance": tolerance}, {"surfaces": True}):
        counts = count_block(pair, Grid(_whole(), SHAPE)[0], **how)
        found = Counts.from_arrays(counts.to_arrays())
        assert found.boundaries == counts.boundaries
        assert found.to_arrays().keys() == counts.to_arrays().keys()
        for name, array in counts.to_arrays().items():
            assert np.array_equal(found.to_arrays()[name], array)
