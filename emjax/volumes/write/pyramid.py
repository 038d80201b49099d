"""Plans the levels of a pyramid: which axes are halved, how often, and the chunks and shards of each level."""

from __future__ import annotations

import math
from typing import NamedTuple

from emjax.errors import InputError
from emjax.geometry.sizes import Size, Triple

# An axis whose voxel is longer than the shortest by more than this factor is not halved: it is the geometric middle of
# 1 and 2, so that halving makes the voxel no less isotropic than leaving it.
_LONGEST = 2**0.5
# Voxels of a chunk, the least that a reader decodes: few enough for a viewer's slice, enough for disks and compression.
_CHUNK_VOXELS = 64**3
_CHUNK_SIDES = (8, 512)
# Chunks of a shard along each axis: fewer files, and 64 reads from one file instead of reads of 64 files.
_SHARD_CHUNKS = 4
# Most bytes of a shard, which is held in memory while it is written.
_SHARD_BYTES = 1 << 27
# A chunk has about as many voxels as this.
_CHUNK = (64, 64, 64)
_ENDLESS = (1 << 30,) * 3
# Numbers of chunks along each axis of a shard to choose from, the most first.
_FEWER_CHUNKS = (_SHARD_CHUNKS, 2, 1)


class Level(NamedTuple):
    """One resolution of a pyramid.

    Attributes:
        size: (z, y, x) voxels.
        factor: (z, y, x) voxels of full resolution that one voxel spans.
        chunk: (z, y, x) voxels that are compressed together.
        shard: (z, y, x) voxels of a shard file, a multiple of the chunk.
    """

    size: Size
    factor: Size
    chunk: Size
    shard: Size


def plan_levels(
    size: Size,
    voxel_nm: Triple | None,
    *,
    voxel_bytes: int = 1,
    count: int = 0,
    chunk: Size | None = None,
    shard: Size | None = None,
) -> tuple[Level, ...]:
    """Plans a pyramid.

    Each level halves the axes whose voxels are not yet longer than the others, so that voxels become isotropic first
    and stay so.

    Args:
        size: (z, y, x) voxels at full resolution.
        voxel_nm: (z, y, x) nm; None is taken as isotropic.
        voxel_bytes: bytes of a voxel with all its channels; shards are smaller where this is large.
        count: number of levels; 0: as many as it takes until a level is one chunk.
        chunk: (z, y, x) voxels compressed together; about isotropic in nm on each level when None.
        shard: (z, y, x) voxels of a shard file; four, two or one chunks along each axis when None.

    Returns:
        The levels, full resolution first.

    Raises:
        InputError: if so many levels are not possible, or the shard is no multiple of the chunk.
    """
    levels: list[Level] = []
    factor: Size = (1, 1, 1)
    while True:
        nm = tuple(n * f for n, f in zip(voxel_nm or (1.0, 1.0, 1.0), factor, strict=True))
        current = tuple(-(-n // f) for n, f in zip(size, factor, strict=True))
        levels.append(_level(current, factor, nm, voxel_bytes, chunk, shard))
        step = pooling_factor(current, nm)
        # A long thin level counts as one chunk if it has no more voxels than a chunk, though chunks have another shape.
        most = math.prod(chunk or _CHUNK)
        small = levels[-1].chunk == current or math.prod(current) <= most
        if len(levels) == count or (not count and small):
            return tuple(levels)
        if math.prod(step) == 1:
            if not count:
                return tuple(levels)
            raise InputError(
                f"levels={count}: level {len(levels) - 1} is a single voxel already; use at most {len(levels)}"
            )
        factor = tuple(a * b for a, b in zip(factor, step, strict=True))


def pooling_factor(size: Size, voxel_nm: Triple) -> Size:
    """Returns 2 for the axes that the next level halves, 1 for the others.

    Args:
        size: (z, y, x) voxels; an axis of one voxel is left as it is.
        voxel_nm: (z, y, x) nm.
    """
    halved = [nm for n, nm in zip(size, voxel_nm, strict=True) if n > 1]
    if not halved:
        return (1, 1, 1)
    most = _LONGEST * min(halved)
    return tuple(2 if n > 1 and nm <= most else 1 for n, nm in zip(size, voxel_nm, strict=True))


def chunk_size(size: Size, voxel_nm: Triple | None) -> Size:
    """Returns the (z, y, x) voxels of a chunk: powers of two, about as long in nm along each axis.

    Args:
        size: (z, y, x) voxels of the volume; a chunk is never longer.
        voxel_nm: (z, y, x) nm; None is taken as isotropic.
    """
    voxel_nm = voxel_nm or (1.0, 1.0, 1.0)
    side_nm = (_CHUNK_VOXELS * math.prod(voxel_nm)) ** (1 / 3)
    least, most = _CHUNK_SIDES
    sides = (2 ** round(math.log2(side_nm / nm)) for nm in voxel_nm)
    return tuple(min(max(least, min(most, s)), n) for s, n in zip(sides, size, strict=True))


def shard_size(size: Size, chunk: Size, chunks: int = _SHARD_CHUNKS) -> Size:
    """Returns the (z, y, x) voxels of a shard: `chunks` chunks along each axis, or as many as the volume has.

    Args:
        size: (z, y, x) voxels of the volume.
        chunk: (z, y, x) voxels of a chunk.
        chunks: largest number of chunks along each axis.
    """
    return tuple(c * min(chunks, -(-n // c)) for n, c in zip(size, chunk, strict=True))


def _level(
    size: Size,
    factor: Size,
    voxel_nm: Triple,
    voxel_bytes: int,
    chunk: Size | None,
    shard: Size | None,
) -> Level:
    whole = chunk or chunk_size(_ENDLESS, voxel_nm)
    chosen = tuple(map(min, whole, size))
    if shard is None:
        shards = [shard_size(size, chosen, chunks) for chunks in _FEWER_CHUNKS]
        small = (s for s in shards if math.prod(s) * voxel_bytes <= _SHARD_BYTES)
        shard = next(small, shards[-1])
    elif any(s % c for s, c in zip(shard, whole, strict=True)):
        raise InputError(
            f"shard={tuple(shard)} is no multiple of chunks of {tuple(whole)} voxels; give chunk too, for all levels"
        )
    # A level that is smaller than a shard gets a smaller shard.
    return Level(size, factor, chosen, tuple(map(min, shard, shard_size(size, chosen, 1 << 62))))
