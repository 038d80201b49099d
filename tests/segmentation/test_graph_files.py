import numpy as np
import pyarrow.parquet as pq
import pytest

from emjax.errors import InputError
from emjax.segmentation.graph_files import (
    read_columns,
    read_segments,
    read_statistics,
    write_columns,
    write_statistics,
)
from emjax.segmentation.region_graph import edge_statistics, merge_statistics

HUGE = np.uint64(1 << 60)


def _statistics(noisy, bricks, histogram, own=None):
    fragments = np.where(bricks > 5, bricks + HUGE, bricks)
    return edge_statistics(fragments, noisy(1).affinities(), own=own, histogram=histogram)


def _assert_equal(one, other):
    for name in ("pairs", "contact", "total", "count", "maximum"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.histogram is None) == (other.histogram is None)
    if one.histogram is not None:
        np.testing.assert_array_equal(one.histogram, other.histogram)


@pytest.mark.parametrize("histogram", [False, True])
def test_statistics_come_back_and_add_up(noisy, bricks, tmp_path, histogram):
    whole = _statistics(noisy, bricks, histogram)
    write_statistics(tmp_path / "a.parquet", whole)
    _assert_equal(read_statistics([tmp_path / "a.parquet"]), whole)
    names = []
    for z in range(0, 8, 2):
        part = _statistics(noisy, bricks, histogram, (slice(z, z + 2), slice(None), slice(None)))
        names.append(tmp_path / f"{z}.parquet")
        write_statistics(names[-1], part)
    _assert_equal(read_statistics(names[::-1]), whole)


def test_other_tools_read_the_table(noisy, bricks, tmp_path):
    whole = _statistics(noisy, bricks, True)
    write_statistics(tmp_path / "a.parquet", whole)
    table = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert table["fragment_b"] == whole.pairs[:, 1].tolist() and max(table["fragment_b"]) > HUGE
    assert [sum(amounts) for amounts in table["amounts"]] == table["affinity_count"]


def test_no_pairs_at_all(tmp_path):
    nothing = edge_statistics(np.ones((2, 3, 4), np.uint64))
    write_statistics(tmp_path / "a.parquet", nothing)
    assert len(read_statistics([tmp_path / "a.parquet"])) == 0
    assert len(merge_statistics([nothing, nothing])) == 0


def test_a_range_of_segments(tmp_path):
    small = np.arange(1, 400_000, dtype=np.uint64)
    ids = np.concatenate([small, HUGE + small])
    write_columns(tmp_path / "s.parquet", fragment=ids, segment=ids // 7)
    for first, last in ((1, 1), (5, 399_999), (int(HUGE) + 3, int(HUGE) + 300_000)):
        expected = np.arange(first, last + 1, dtype=np.uint64) // 7
        np.testing.assert_array_equal(read_segments(tmp_path / "s.parquet", first, last), expected)
    found = read_columns(tmp_path / "s.parquet", "segment")[0]
    np.testing.assert_array_equal(found, ids // 7)


@pytest.mark.parametrize(("first", "last"), [(399_999, 400_000), (500_000, 500_001), (0, 3)])
def test_unknown_fragments_are_no_background(tmp_path, first, last):
    small = np.arange(1, 400_000, dtype=np.uint64)
    ids = np.concatenate([small, HUGE + small[:8]])
    write_columns(tmp_path / "s.parquet", fragment=ids, segment=ids)
    with pytest.raises(InputError, match="does not know all fragments"):
        read_segments(tmp_path / "s.parquet", first, last)


@pytest.mark.parametrize("keep", [0, 50])
def test_damaged_files_are_named(tmp_path, keep):
    write_columns(tmp_path / "s.parquet", fragment=np.arange(9, dtype=np.uint64))
    data = (tmp_path / "s.parquet").read_bytes()
    (tmp_path / "s.parquet").write_bytes(data[:keep])
    for read in (
        lambda: read_columns(tmp_path / "s.parquet", "fragment"),
        lambda: read_segments(tmp_path / "s.parquet", 1, 2),
        lambda: read_statistics([tmp_path / "s.parquet"]),
        lambda: read_columns(tmp_path / "none.parquet", "fragment"),
    ):
        with pytest.raises(InputError, match="cannot read .*parquet"):
            read()
