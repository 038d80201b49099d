"""Looks at chunks in the shards of a precomputed volume: how large gzip makes them.

The format is Neuroglancer's `neuroglancer_uint64_sharded_v1`
(https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md).
"""

from __future__ import annotations

import dataclasses
import functools
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emjax.errors import InputError
from emjax.volumes.read.chunk_memory import DEFLATE, exceeds
from emjax.volumes.read.folder_metadata import shown

# Chunks that cannot become larger than this, and minishard indexes, need no look.
_HARMLESS = 1 << 28
_GZIP = zlib.MAX_WBITS | 16
# Bytes of the start and the end of a minishard, and of a chunk's number, place and size.
_PLACE, _ENTRY = 16, 24


@dataclasses.dataclass(frozen=True)
class ShardedGzip:
    """Looks at chunks that are compressed by gzip.

    Attributes:
        folder: of the scale, on this disk.
        grid: (x, y, z) number of chunks.
        hashed: whether numbers of chunks are hashed by murmurhash3_x86_128.
        bits: of `preshift_bits`, `minishard_bits`, `shard_bits`.
        index_gzip, data_gzip: whether minishard indexes, and chunks, are compressed.
        most: bytes that a chunk may become.
    """

    folder: str
    grid: tuple[int, int, int]
    hashed: bool
    bits: tuple[int, int, int]
    index_gzip: bool
    data_gzip: bool
    most: int

    def __call__(self, index: tuple[int, ...]) -> tuple[str, bool]:
        """Returns the name of a chunk, and whether it becomes larger than its voxels need.

        Args:
            index: (x, y, z, channel) of the chunk.
        """
        number = morton(index[:3], self.grid)
        preshift, minishard_bits, shard_bits = self.bits
        place = number >> preshift
        place = murmurhash(place) if self.hashed else place
        minishard = place & ((1 << minishard_bits) - 1)
        shard = place >> minishard_bits & ((1 << shard_bits) - 1)
        path = os.path.join(self.folder, f"{shard:0{-(-shard_bits // 4)}x}.shard")
        name = f"chunk {'_'.join(map(str, index[:3]))} in {path}"
        try:
            written = os.stat(path).st_mtime_ns
            found = _chunks(path, written, minishard, minishard_bits, self.index_gzip).get(number)
        except OSError:
            # What cannot be read, those who read it report.
            return name, False
        if found is None or not self.data_gzip or found[1] * DEFLATE <= _HARMLESS:
            return name, False
        return name, exceeds(_part(path, *found), self.most, _GZIP)


def find_sharded(base: str, scale: Mapping[str, Any], most: int) -> ShardedGzip | None:
    """Returns how to look at the chunks of a scale; None if nothing in its shards is compressed by gzip.

    Args:
        base: URL of the volume's folder on this disk, with a slash at its end.
        scale: of the volume's `info`.
        most: bytes that a chunk may become.
    """
    sharding = scale.get("sharding") or {}
    index_gzip, data_gzip = (
        sharding.get(key, "raw") == "gzip" for key in ("minishard_index_encoding", "data_encoding")
    )
    if not (index_gzip or data_gzip):
        return None
    x, y, z = (
        -(-n // side) for n, side in zip(scale["size"], scale["chunk_sizes"][0], strict=True)
    )
    return ShardedGzip(
        os.path.join(shown(base), scale["key"].strip("/")),
        (x, y, z),
        sharding.get("hash") != "identity",
        (
            int(sharding.get("preshift_bits", 0)),
            int(sharding.get("minishard_bits", 0)),
            int(sharding.get("shard_bits", 0)),
        ),
        index_gzip,
        data_gzip,
        most,
    )


def morton(index: Sequence[int], grid: Sequence[int]) -> int:
    """Returns the number of a chunk on the compressed Morton curve, which leaves out bits that the grid does not need.

    Args:
        index: (x, y, z) of the chunk.
        grid: (x, y, z) number of chunks.
    """
    number = place = 0
    for bit in range(max(n - 1 for n in grid).bit_length()):
        for i, n in zip(index, grid, strict=True):
            if 1 << bit < n:
                number |= (i >> bit & 1) << place
                place += 1
    return number


def murmurhash(number: int) -> int:
    """Returns the lower 64 bits of murmurhash3_x86_128 of a number of 8 bytes, seed 0.

    https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp, for a tail of 8 bytes.
    """
    c = (0x239B961B, 0xAB0E9789, 0x38B34AE5)
    low, high = number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF
    h = [
        _32(_rotated(_32(low * c[0]), 15) * c[1]),
        _32(_rotated(_32(high * c[1]), 16) * c[2]),
        0,
        0,
    ]
    h = _sums([part ^ 8 for part in h])
    h = _sums([_mixed(part) for part in h])
    return h[0] | h[1] << 32


def _sums(h: list[int]) -> list[int]:
    first = _32(sum(h))
    return [first, *(_32(part + first) for part in h[1:])]


def _mixed(h: int) -> int:
    h = _32((h ^ h >> 16) * 0x85EBCA6B)
    h = _32((h ^ h >> 13) * 0xC2B2AE35)
    return h ^ h >> 16


def _rotated(value: int, by: int) -> int:
    return _32(value << by | value >> 32 - by)


def _32(value: int) -> int:
    return value & 0xFFFFFFFF


@functools.lru_cache(maxsize=256)
def _chunks(
    path: str, _written: int, minishard: int, minishard_bits: int, compressed: bool
) -> dict[int, tuple[int, int]]:
    """Returns the place and size of each chunk of a minishard.

    Raises:
        InputError: if the index of the minishard is larger than can be.
        OSError: if the file cannot be read.
    """
    index_end = _PLACE << minishard_bits
    place = np.frombuffer(_part(path, _PLACE * minishard, _PLACE), "<u8")
    if len(place) < 2 or place[0] >= place[1]:
        return {}
    data = _part(path, index_end + int(place[0]), int(place[1] - place[0]))
    if compressed:
        if len(data) * DEFLATE > _HARMLESS and exceeds(data, _HARMLESS, _GZIP):
            raise InputError(
                f"{path} has an index that is more than {_HARMLESS} bytes when decompressed; the file is damaged or "
                "hostile: restore it"
            )
        try:
            data = zlib.decompressobj(_GZIP).decompress(data)
        except zlib.error:
            return {}
    table = np.frombuffer(data[: len(data) // _ENTRY * _ENTRY], "<u8").reshape(3, -1)
    numbers, sizes = np.cumsum(table[0]), table[2]
    # A place is counted from the end of the chunk before.
    starts = np.cumsum(table[1]) + np.cumsum(sizes) - sizes + np.uint64(index_end)
    return dict(
        zip(numbers.tolist(), zip(starts.tolist(), sizes.tolist(), strict=True), strict=True)
    )


def _part(path: str, start: int, size: int) -> bytes:
    with open(path, "rb") as file:
        # No more than there is, whatever an index says.
        size = max(0, min(size, os.fstat(file.fileno()).st_size - start))
        file.seek(start)
        return file.read(size)
