"""Sizes of blocks; they do not depend on the machine, so that another machine can continue a run."""

from __future__ import annotations

import math

from emjax.errors import InputError
from emjax.geometry.sizes import Size

# A block holds at most the voxels of this many tiles. Tiles at the border of a block are computed for its neighbour as
# well, which at this size is about a third of the work, and a block is still done in minutes.
_TILES = 128
# Most memory for the sums of a block and its border, float32.
_MOST_BYTES = 1 << 30


def default_block_size(size: Size, chunk: Size, tile_size: Size, channels: int) -> Size:
    """Chooses the size of a prediction's blocks.

    Args:
        size: (z, y, x) voxels to predict.
        chunk: (z, y, x) voxels of a chunk of the output.
        tile_size: (z, y, x) voxels of a tile.
        channels: number of channels of the prediction.

    Returns:
        (z, y, x) voxels of a block: along each axis a power of two of chunks, or all chunks.
    """
    whole = tuple(-(-n // c) * c for n, c in zip(size, chunk, strict=True))
    block = chunk
    while block != whole:
        # Double the axis along which the border of tiles costs the most.
        short = [axis for axis in range(3) if block[axis] < whole[axis]]
        axis = max(short, key=lambda axis: tile_size[axis] / block[axis])
        larger = list(block)
        larger[axis] = min(2 * block[axis], whole[axis])
        region = math.prod(b + t for b, t in zip(larger, tile_size, strict=True))
        if math.prod(larger) > _TILES * math.prod(tile_size) or region * 4 * channels > _MOST_BYTES:
            break
        block = tuple(larger)
    return block


def whole_chunks(size: Size, chunk: Size, most_voxels: int) -> Size:
    """Chooses blocks of about as many chunks along each axis, so that reading a block's surroundings costs least.

    Args:
        size: (z, y, x) voxels of the volume.
        chunk: (z, y, x) voxels of a chunk of the volume.
        most_voxels: most voxels of a block.

    Returns:
        (z, y, x) voxels of a block, at most the size of the volume.
    """
    block = chunk
    while True:
        short = [axis for axis in range(3) if block[axis] < size[axis]]
        if not short:
            break
        axis = min(short, key=lambda axis: block[axis] // chunk[axis])
        larger = tuple(2 * n if a == axis else n for a, n in enumerate(block))
        if math.prod(map(min, larger, size)) > most_voxels:
            break
        block = larger
    return tuple(map(min, block, size))


def fit_chunk(chunk: Size, block_size: Size) -> Size:
    """Returns the size of chunks such that blocks of a given size consist of whole chunks.

    Args:
        chunk: (z, y, x) voxels of the preferred chunk.
        block_size: (z, y, x) voxels of a block.

    Raises:
        InputError: if a block is longer than a chunk but no multiple of it; names sizes that are multiples.
    """
    if any(b > c and b % c for b, c in zip(block_size, chunk, strict=True)):
        nearest = ",".join(
            str(b if b <= c else round(b / c) * c) for b, c in zip(block_size, chunk, strict=True)
        )
        raise InputError(
            f"block_size={tuple(block_size)} is no multiple of the output's chunks of {tuple(chunk)} voxels; use "
            f"{nearest}"
        )
    return tuple(min(c, b) for c, b in zip(chunk, block_size, strict=True))
