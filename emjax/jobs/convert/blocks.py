"""The blocks of `convert`: whole shards, and as wide as an input wants that decodes whole sections."""

from __future__ import annotations

import math

from absl import logging

from emjax.blocks.run import check_aligned
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.geometry.sizes import Size
from emjax.volumes.chunk_sides import read_sides
from emjax.volumes.store import BLOCK_CACHE_BYTES
from emjax.volumes.volume import Volume
from emjax.volumes.write.pyramid import Level

# Of a block of an input that decodes whole sections: the larger, the fewer blocks decode the same ones.
_BLOCK_BYTES = 1 << 28


def make_grids(
    block_size: tuple[int, ...],
    volume: Volume,
    outer: Box,
    levels: tuple[Level, ...],
    voxel_bytes: int,
) -> tuple[Grid, ...]:
    """Returns the blocks of each level, whole shards: none writes what another one writes.

    Args:
        block_size: (z, y, x) voxels of full resolution; (): a shard, or wider ones where the input decodes sections.
        volume: that is read.
        outer: the part of it.
        levels: of the output.
        voxel_bytes: of a voxel with all its channels.

    Returns:
        Of the first level in voxels of the input, of the others in their own.

    Raises:
        InputError: if blocks are no multiple of the shards.
    """
    shard = levels[0].shard
    size = shard
    if block_size:
        size = block_size
        check_aligned(Grid(outer, size), shard)
    elif volume.slow_random_access:
        size = _widened(volume, outer.size, shard, voxel_bytes)
    first = Grid(outer, tuple(map(min, size, outer.size)))
    # As many shards to a block on every level, as far as the user asked for more than one.
    shards = [1, 1, 1]
    if block_size:
        shards = [-(-b // s) for b, s in zip(size, shard, strict=True)]
    coarser = [
        Grid(
            Box((0, 0, 0), level.size),
            tuple(min(n * s, z) for n, s, z in zip(shards, level.shard, level.size, strict=True)),
        )
        for level in levels[1:]
    ]
    return (first, *coarser)


def fit_sections(levels: tuple[Level, ...], volume: Volume) -> tuple[Level, ...]:
    """Makes the shards of full resolution shallow where the input decodes sections wider than them.

    A section is decoded again for each block that it crosses, and blocks that are shallow can be wide.

    Args:
        levels: of the output.
        volume: that is read.
    """
    first = levels[0]
    read = read_sides(volume.store)
    wide = any(r > s for r, s in zip(read[-2:], first.shard[1:], strict=True))
    if not (volume.slow_random_access and wide):
        return levels
    return (first._replace(shard=(first.chunk[0], *first.shard[1:])), *levels[1:])


def cut_into_sections(level: Level, volume: Volume, voxel_bytes: int) -> tuple[Level, ...]:
    """Returns the one level of an output of whole sections, with as many in a block as an input's chunks are deep.

    Args:
        level: full resolution.
        volume: that is read.
        voxel_bytes: of a voxel.
    """
    plane = level.size[1:]
    depth = min(read_sides(volume.store)[-3], _BLOCK_BYTES // (math.prod(plane) * voxel_bytes))
    depth = min(max(1, depth), level.size[0])
    return (level._replace(chunk=(1, *plane), shard=(depth, *plane)),)


def _widened(volume: Volume, size: Size, shard: Size, voxel_bytes: int) -> Size:
    """Widens blocks towards whole sections, where reading any part of one decodes all of it."""
    read = read_sides(volume.store)
    block = shard
    for axis in (2, 1):
        most = min(size[axis], read[axis - 3])
        while block[axis] < most:
            wider = tuple(n + (shard[a] if a == axis else 0) for a, n in enumerate(block))
            if math.prod(wider) * voxel_bytes > _BLOCK_BYTES:
                break
            block = wider
    return block


def say_decoded(volume: Volume, grid: Grid) -> None:
    """Says how often a section is decoded, where blocks are narrower and their sections are not kept.

    Args:
        volume: that is slow to read in parts.
        grid: of full resolution.
    """
    read = read_sides(volume.store)
    across = math.prod(
        -(-min(r, n) // b)
        for r, n, b in zip(read[-2:], grid.outer.size[1:], grid.core_size[1:], strict=True)
    )
    slab = grid.core_size[0] * math.prod(volume.size[1:]) * volume.dtype.itemsize
    if across > 1 and slab > BLOCK_CACHE_BYTES:
        logging.warning(
            "each section of %s is decoded about %d times; with --config.block_size=%d,%d,%d once, in %.1f GiB for "
            "each worker",
            volume.address.path,
            across,
            grid.core_size[0],
            *(-(-n // s) * s for n, s in zip(volume.size[1:], grid.core_size[1:], strict=True)),
            3 * slab / 2**30,
        )
