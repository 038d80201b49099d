"""Boundary F1: by hand, against distances between all voxels, and the same in any blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from emjax.evaluation.boundaries import BoundaryCounts, BoundaryTolerance, find_boundaries
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid


def _whole(tolerance: BoundaryTolerance, labels: np.ndarray, found: np.ndarray) -> BoundaryCounts:
    known = np.ones(labels.shape, bool)
    return tolerance.count(labels, found, known, (slice(None),) * 3)


def _cells(seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(7, 20, 23)), (1, 2, 2))
    return np.digitize(noise, np.quantile(noise, [0.2, 0.5, 0.8]))


def test_faces_of_two_ids_on_both_sides():
    ids = np.asarray([[[1, 1, 2, 2, 0]], [[1, 1, 1, 2, 0]]])
    known = np.ones(ids.shape, bool)
    assert find_boundaries(ids, known, True).astype(int).tolist() == [
        [[0, 1, 1, 1, 1]],
        [[0, 0, 1, 1, 1]],
    ]
    assert find_boundaries(ids, known, False).astype(int).tolist() == [
        [[0, 1, 1, 1, 1]],
        [[0, 0, 1, 1, 1]],
    ]
    ids[1, 0, 0] = 3
    assert find_boundaries(ids, known, False)[:, 0, 0].all()
    known[0, 0, 3:] = False
    assert find_boundaries(ids, known, True)[0].astype(int).tolist() == [[0, 1, 1, 0, 0]]


def test_a_line_moved_by_two():
    labels, found = (np.ones((1, 1, 12), int) for _ in range(2))
    labels[..., 4:], found[..., 6:] = 2, 2
    # Boundaries at 3, 4 and at 5, 6: 4 is 1 from 5, the others are 2 from the nearest.
    assert _whole(BoundaryTolerance(1, (1, 1, 1), False), labels, found) == (2, 1, 2, 1)
    wide = _whole(BoundaryTolerance(2, (1, 1, 1), False), labels, found)
    assert wide.scores() == {"boundary_precision": 1, "boundary_recall": 1, "boundary_f1": 1}
    assert _whole(BoundaryTolerance(7.9, (40, 4, 4), False), labels, found) == (2, 1, 2, 1)
    assert _whole(BoundaryTolerance(8, (40, 4, 4), False), labels, found).scores() == wide.scores()


def test_the_harmonic_mean():
    scores = BoundaryCounts(found=10, right=5, true=4, recalled=3).scores()
    assert scores["boundary_f1"] == pytest.approx(2 * 0.5 * 0.75 / 1.25)


@pytest.mark.parametrize("in_sections", [True, False])
def test_equals_distances_between_all_voxels(in_sections):
    labels, found = _cells(0), _cells(1)
    size, most = (30.0, 8.0, 8.0), 17.0 if in_sections else 31.0
    counts = _whole(BoundaryTolerance(most, size, in_sections), labels, found)
    known = np.ones(labels.shape, bool)
    true, seen = (np.argwhere(find_boundaries(i, known, in_sections)) for i in (labels, found))
    steps = (seen[:, None] - true[None]) * np.asarray(size)
    if in_sections:
        steps[..., 0] *= 1e6
    near = np.linalg.norm(steps, axis=-1) <= most
    right, recalled = near.any(axis=1).sum(), near.any(axis=0).sum()
    assert counts == (len(seen), right, len(true), recalled) and 0 < right < len(seen)


@pytest.mark.parametrize("in_sections", [True, False])
def test_blocks_make_no_difference(in_sections):
    labels, found = _cells(0), _cells(1)
    known = np.random.default_rng(0).random(labels.shape) > 0.05
    tolerance = BoundaryTolerance(17.0, (8.0, 8.0, 8.0), in_sections)
    whole = tolerance.count(labels, found, known, (slice(None),) * 3)
    for size in ((1, 20, 23), (3, 7, 6), (7, 1, 23)):
        parts = []
        for block in Grid(Box((0, 0, 0), labels.shape), size, tolerance.halo):
            arrays = (array[block.read.slices] for array in (labels, found, known))
            core = block.core.translate(tuple(-s for s in block.read.start)).slices
            parts.append(tolerance.count(*arrays, core))
        assert BoundaryCounts.total(parts) == whole


def test_what_has_no_meaning_is_absent():
    assert BoundaryCounts().scores() == {} and BoundaryCounts.total([]) == BoundaryCounts()
    assert BoundaryCounts(true=5).scores() == {"boundary_recall": 0, "boundary_f1": 0}
    assert BoundaryCounts(found=5).scores() == {"boundary_precision": 0, "boundary_f1": 0}
