"""Expected run length: by hand, and where points are looked up."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.evaluation.run_length import blocks_of, expected_run_length, look_up, voxels_of
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.skeletons.skeleton import Skeleton


def _line(points: int, step: float = 10.0) -> Skeleton:
    positions = np.zeros((points, 3))
    positions[:, 2] = np.arange(points) * step
    return Skeleton(positions, np.arange(points) - 1, np.zeros(points))


def _ids(*ids: int) -> np.ndarray:
    return np.asarray(ids, np.uint64)


def test_no_error():
    scores = expected_run_length([_line(5), _line(3)], [_ids(7, 7, 7, 7, 7), _ids(9, 9, 9)])
    # 40 nm with the chance of 40 of 60, 20 nm with that of 20 of 60.
    assert scores["erl_nm"] == pytest.approx((40**2 + 20**2) / 60)
    assert (scores["erl_normalized"], scores["skeleton_correct"]) == (1, 1)
    assert scores["skeleton_mergers"] == scores["skeleton_split"] == scores["skeleton_omitted"] == 0


def test_every_kind_of_edge():
    # 10 nm each: correct, split, correct, omitted, omitted, correct (the segment of the first again).
    scores = expected_run_length([_line(7)], [_ids(1, 1, 2, 2, 0, 1, 1)])
    assert scores["erl_nm"] == pytest.approx((20**2 + 10**2) / 60)
    assert scores["erl_normalized"] == pytest.approx((20**2 + 10**2) / 60**2)
    shares = [scores[f"skeleton_{kind}"] for kind in ("correct", "split", "omitted", "merged")]
    assert shares == pytest.approx([3 / 6, 1 / 6, 2 / 6, 0])


def test_a_merger_spoils_its_own_edges():
    first, second = _ids(1, 1, 1, 2, 2), _ids(1, 3, 3)
    scores = expected_run_length([_line(5), _line(3)], [first, second])
    # Segment 1 has points of both: two edges of the first are merged, one of the second is split.
    assert scores["erl_nm"] == pytest.approx((10**2 + 10**2) / 60)
    assert scores["skeleton_merged"] == pytest.approx(20 / 60) and scores["skeleton_mergers"] == 1
    forgiven = expected_run_length([_line(5), _line(3)], [first, second], merge_points=2)
    assert forgiven["erl_nm"] == pytest.approx((20**2 + 10**2 + 10**2) / 60)
    assert forgiven["skeleton_mergers"] == 0


def test_one_segment_for_all_is_nothing_correct():
    scores = expected_run_length([_line(5), _line(3)], [_ids(*[4] * 5), _ids(*[4] * 3)])
    assert scores["erl_nm"] == scores["erl_normalized"] == 0 and scores["skeleton_merged"] == 1
    # No segment is none, not one that merges.
    nothing = expected_run_length([_line(5), _line(3)], [_ids(*[0] * 5), _ids(*[0] * 3)])
    assert (nothing["skeleton_omitted"], nothing["skeleton_mergers"]) == (1, 0)


def test_no_length_is_no_score():
    assert expected_run_length([], []) == {}
    assert expected_run_length([_line(1)], [_ids(3)]) == {}


@pytest.mark.parametrize("size", [(6, 9, 11), (2, 3, 4), (1, 9, 1)])
def test_looking_up_reads_the_right_voxels(size):
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 2**63, (8, 12, 14)).astype(np.uint64)
    voxels = rng.integers(0, (6, 9, 11), (50, 3)) + (1, 2, 3)
    grid = Grid(Box((1, 2, 3), (6, 9, 11)), size)
    blocks = blocks_of(voxels, grid)
    read = []

    def cut(box: Box) -> np.ndarray:
        read.append(box)
        return volume[box.slices]

    for index in np.unique(blocks):
        ids = look_up(voxels[blocks == index], cut)
        assert ids.dtype == np.uint64
        assert np.array_equal(ids, volume[tuple(voxels[blocks == index].T)])
        # No more than the block.
        assert grid[int(index)].core.contains(read[-1])
    assert len(blocks_of(voxels[:0], grid)) == 0


def test_voxels_of_points():
    positions = np.asarray([[40.0, 3.99, 4.0], [3 * 0.1 * 400, 0, 9.9]])
    skeleton = Skeleton(positions, np.asarray([-1, 0]), np.zeros(2))
    assert voxels_of(skeleton, (40, 4, 3.3)).tolist() == [[1, 0, 1], [3, 0, 3]]
