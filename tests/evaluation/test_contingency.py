"""Tables of pairs: by hand, additive, and right for any ids."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.evaluation.contingency import Contingency
from emjax.volumes.label_ids import LabelIds


def _rows(table: Contingency) -> list[tuple[int, int, int]]:
    parts = (table.labels, table.segments, table.counts)
    return list(zip(*(part.tolist() for part in parts), strict=True))


def test_by_hand():
    labels = np.asarray([[[1, 1, 0, 7, 7, 9]]])
    segments = np.asarray([[[4, 5, 5, 5, 5, 0]]])
    table = Contingency.from_arrays(labels, segments, label_ids=LabelIds(ignore=(9,)))
    assert _rows(table) == [(0, 5, 1), (1, 4, 1), (1, 5, 1), (7, 5, 2)]
    assert _rows(table.without_background()) == [(1, 4, 1), (1, 5, 1), (7, 5, 2)]
    assert [part.tolist() for part in table.label_sizes()] == [[0, 1, 7], [1, 2, 2]]
    assert [part.tolist() for part in table.segment_sizes()] == [[4, 5], [1, 4]]
    masked = Contingency.from_arrays(labels, segments, mask=np.asarray([[[1, 0, 0, 0, 0, 1]]]) > 0)
    assert _rows(masked) == [(1, 4, 1), (9, 0, 1)]
    other = Contingency.from_arrays(labels, segments, label_ids=LabelIds((1, 7)))
    assert _rows(other) == [(0, 4, 1), (0, 5, 4), (9, 0, 1)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_equals_counting_one_by_one(dtype):
    rng = np.random.default_rng(0)
    labels, segments = (rng.integers(0, 9, (5, 6, 7)).astype(dtype) for _ in range(2))
    counted: dict = {}
    for pair in zip(labels.ravel().tolist(), segments.ravel().tolist(), strict=True):
        counted[pair] = counted.get(pair, 0) + 1
    table = Contingency.from_arrays(labels, segments)
    assert _rows(table) == [(*pair, count) for pair, count in sorted(counted.items())]


def test_parts_add_up_to_the_whole():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, (6, 8, 8)).astype(np.uint64) << np.uint64(50)
    segments = rng.integers(0, 2**60, 7).astype(np.uint64)[rng.integers(0, 7, (6, 8, 8))]
    whole = Contingency.from_arrays(labels, segments)
    parts = [Contingency.from_arrays(labels[z : z + 1], segments[z : z + 1]) for z in range(6)]
    assert _rows(Contingency.total(reversed(parts))) == _rows(whole)
    added = parts[0] + parts[1]
    assert added.voxels == 128 and _rows(added) == _rows(Contingency.total(parts[:2]))
    assert whole.voxels == 6 * 64


def test_ids_that_say_that_nothing_is_known():
    labels = np.asarray([[[2**64 - 1, 3]]], np.uint64)
    found = np.ones((1, 1, 2), int)
    assert _rows(Contingency.from_arrays(labels, found)) == [(3, 1, 1)]
    labels = np.asarray([[[-1, 3]]])
    assert _rows(Contingency.from_arrays(labels, found)) == [(3, 1, 1)]
    nothing = Contingency.from_arrays(labels, found, label_ids=LabelIds(ignore=(3,)))
    assert nothing.voxels == 0 and Contingency.total([]).voxels == 0
    empty = np.zeros((0, 4, 4), np.uint64)
    assert Contingency.from_arrays(empty, empty).voxels == 0


def test_what_is_named_as_background_is_known():
    labels = np.asarray([[[2**64 - 1, 3]]], np.uint64)
    found = np.ones((1, 1, 2), int)
    table = Contingency.from_arrays(labels, found, label_ids=LabelIds((2**64 - 1,)))
    assert _rows(table) == [(0, 1, 1), (3, 1, 1)]
    negative = np.asarray([[[-1, 3]]], np.int16)
    named = Contingency.from_arrays(negative, found, label_ids=LabelIds((0, -1)))
    assert _rows(named) == _rows(table)
    both = Contingency.from_arrays(negative, found, label_ids=LabelIds((-1,), (-1,)))
    assert _rows(both) == [(3, 1, 1)]


def test_what_is_no_segment_is_one_whatever_its_ids():
    labels = np.asarray([[[7, 7, 7, 9]]], np.uint64)
    found = np.asarray([[[0, 2**64 - 1, 3, 4]]], np.uint64)
    assert _rows(Contingency.from_arrays(labels, found)) == [(7, 0, 2), (7, 3, 1), (9, 4, 1)]
    named = Contingency.from_arrays(labels, found, segment_ids=LabelIds((3,)))
    assert _rows(named) == [(7, 0, 3), (9, 4, 1)]


def test_mistakes():
    ids = np.zeros((1, 2, 3), int)
    with pytest.raises(InputError, match=r"\(1, 2, 3\) voxels, the segmentation is \(1, 2, 2\)"):
        Contingency.from_arrays(ids, ids[..., :2])
    with pytest.raises(InputError, match="float64; ids are integers"):
        Contingency.from_arrays(ids, ids * 0.5)
    with pytest.raises(InputError, match="has the id -4"):
        Contingency.from_arrays(ids, ids - 4)
