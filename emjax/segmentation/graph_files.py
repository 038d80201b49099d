"""The region graph on disk, in Parquet files, which pandas, DuckDB, Spark and R can read too.

- `sizes/block-*.parquet`: `fragment`, `voxels`.
- `<table>/block-*.parquet`: a row for each pair of fragments that the block knows of: `fragment_a` < `fragment_b`,
  `contact` (voxel faces), `affinity_total` and `affinity_maximum` (in units of 2**-24, so that they are whole numbers
  and add up exactly), `affinity_count`; in tables with histograms `bins` and `amounts`, the non-empty bins of 256.
  A pair may have rows in several blocks: totals and counts add up, and the largest maximum counts.
- `segments.parquet`: `fragment`, `segment` (0: background), sorted by fragment.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from emjax.errors import InputError, reason
from emjax.runs.whole_file import write_whole
from emjax.segmentation.region_graph import EdgeStatistics, merge_statistics

_COLUMNS = ("contact", "affinity_total", "affinity_count", "affinity_maximum")
# Rows of a row group; where only some rows are wanted, whole groups are read.
_GROUP = 1 << 18


def write_statistics(path: str | os.PathLike[str], statistics: EdgeStatistics) -> None:
    """Writes a table of pairs as one file, atomically."""
    values = (statistics.contact, statistics.total, statistics.count, statistics.maximum)
    columns = {
        "fragment_a": statistics.pairs[:, 0],
        "fragment_b": statistics.pairs[:, 1],
        **dict(zip(_COLUMNS, values, strict=True)),
    }
    table = pa.table({name: pa.array(np.ascontiguousarray(v)) for name, v in columns.items()})
    if statistics.histogram is not None:
        edges, bins, amounts = statistics.histogram.T
        offsets = pa.array(np.searchsorted(edges, np.arange(len(statistics) + 1)), pa.int32())
        for name, column in (("bins", bins.astype(np.uint8)), ("amounts", amounts)):
            lists = pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(column)))
            table = table.append_column(name, lists)
    _write(path, table)


def read_statistics(paths: Sequence[str | os.PathLike[str]]) -> EdgeStatistics:
    """Reads tables of pairs and adds them up.

    Args:
        paths: one or more files.

    Raises:
        InputError: if a file is no such table.
    """
    return merge_statistics([_read_statistics(path) for path in paths])


def write_columns(path: str | os.PathLike[str], **columns: np.ndarray) -> None:
    """Writes columns of numbers of equal length as one file, atomically."""
    _write(path, pa.table({name: pa.array(values) for name, values in columns.items()}))


def read_columns(path: str | os.PathLike[str], *names: str) -> tuple[np.ndarray, ...]:
    """Reads columns of numbers.

    Raises:
        InputError: if the file is damaged or lacks a column.
    """
    table = _read(path, names)
    return tuple(table[name].to_numpy() for name in names)


def read_segments(path: str | os.PathLike[str], first: int, last: int) -> np.ndarray:
    """Reads the segments of fragments with consecutive ids.

    Only the row groups that contain these fragments are read.

    Args:
        path: of `segments.parquet`.
        first: id of the first fragment.
        last: id of the last fragment; all ids in between are in the file.

    Returns:
        `[last - first + 1]` uint64.

    Raises:
        InputError: if the file is damaged or lacks some of the fragments.
    """
    ids, segments = [], []
    try:
        with epath.Path(path).open("rb") as file:
            parquet = pq.ParquetFile(file)
            for group in range(parquet.num_row_groups):
                known = parquet.metadata.row_group(group).column(0).statistics
                if known.max >= first and known.min <= last:
                    table = parquet.read_row_group(group)
                    ids.append(table["fragment"].to_numpy())
                    segments.append(table["segment"].to_numpy())
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    found = np.concatenate(ids) if ids else np.zeros(0, np.uint64)
    begin, end = np.searchsorted(found, [np.uint64(first), np.uint64(last)])
    if end - begin != last - first or end >= len(found) or found[end] != last:
        raise InputError(
            f"{path} does not know all fragments {first} to {last}; delete it, and run the same command again"
        )
    return np.concatenate(segments)[begin : end + 1]


def _read_statistics(path: str | os.PathLike[str]) -> EdgeStatistics:
    table = _read(path)
    pairs = np.stack([table["fragment_a"].to_numpy(), table["fragment_b"].to_numpy()], axis=1)
    histogram = None
    if "bins" in table.column_names:
        bins, amounts = (table[name].combine_chunks() for name in ("bins", "amounts"))
        lengths = np.asarray(bins.value_lengths(), np.int64)
        histogram = np.column_stack(
            [
                np.repeat(np.arange(len(pairs)), lengths),
                bins.flatten().to_numpy().astype(np.int64),
                amounts.flatten().to_numpy(),
            ]
        )
    contact, total, count, maximum = (table[name].to_numpy() for name in _COLUMNS)
    return EdgeStatistics(pairs, contact, total, count, maximum, histogram)


def _read(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> pa.Table:
    try:
        data = epath.Path(path).read_bytes()
        return pq.read_table(pa.BufferReader(data), columns=list(names) if names else None)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error


def _write(path: str | os.PathLike[str], table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=_GROUP)
    write_whole(path, buffer.getvalue())
