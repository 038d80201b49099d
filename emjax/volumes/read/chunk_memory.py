"""Refuses chunks that would fill the memory: by the size that metadata declare, and by what a chunk really decodes to.

TensorStore decodes gzip, zlib, bzip2, xz and zstd as streams, and stops where a chunk has more voxels than it declares.
HDF5 decodes a chunk as a whole, however much that is: so a suspicious one is decoded here first, and thrown away.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emjax.errors import InputError
from emjax.runs.memory import free_memory_bytes

if TYPE_CHECKING:
    import h5py

# Share of the free memory that one chunk may fill.
_SHARE = 0.5
# Most bytes that a byte of deflate can become; chunks that cannot exceed a size need no look.
_DEFLATE = 1032
_HARMLESS = 1 << 30
_PART = 1 << 20
# Numbers of HDF5's filters.
_DEFLATE_FILTER, _CHECKSUM_FILTER = 1, 3


def refuse_large_chunk(name: str, sides: Sequence[int], itemsize: int) -> None:
    """Refuses an array one chunk of which would fill the memory.

    Args:
        name: of the volume, for the message.
        sides: of the chunk that is decoded at once, voxels; an axis of 0 is unknown and counts as 1.
        itemsize: bytes of a voxel.

    Raises:
        InputError: if a chunk is larger than half of the free memory.
    """
    size, free = math.prod(max(1, side) for side in sides) * itemsize, free_memory_bytes()
    if size > _SHARE * free:
        by = "x".join(map(str, sides))
        raise InputError(
            f"{name} has chunks of {by} voxels: {size / 2**30:.3g} GiB, of {free / 2**30:.3g} GiB that are free; it is "
            "damaged or hostile, or has to be written anew with smaller chunks"
        )


def refuse_hdf5_bomb(name: str, data: h5py.Dataset, corner: Sequence[int]) -> None:
    """Refuses a chunk of HDF5 that decodes to more than its voxels need, or to so little that HDF5 would crash.

    Args:
        name: of the chunk, for the message.
        data: the open dataset, in chunks.
        corner: first voxel of the chunk.

    Raises:
        InputError: if there is more, or cannot be as much.
    """
    made = data.id.get_create_plist()
    filters = [made.get_filter(index)[0] for index in range(made.get_nfilters())]
    if _DEFLATE_FILTER not in filters:
        return
    corner = tuple(corner)
    size = data.id.get_chunk_info_by_coord(corner).size or 0
    voxels = math.prod(data.chunks or ()) * data.dtype.itemsize
    if 0 < size * _DEFLATE < voxels:
        raise InputError(
            f"{name} has {size} bytes, too few for its {voxels} bytes of voxels; the file is damaged: restore it"
        )
    if size * _DEFLATE <= _HARMLESS:
        return
    most = 2 * voxels + (1 << 20)
    left, found = data.id.read_direct_chunk(corner)[1], 0
    # What comes after deflate in the order of writing has to be undone first; a checksum stands behind the stream.
    after = filters[filters.index(_DEFLATE_FILTER) + 1 :]
    decoder = zlib.decompressobj()
    try:
        while left and not decoder.eof and found <= most:
            found += len(decoder.decompress(left, _PART))
            left = decoder.unconsumed_tail
    except zlib.error:
        # HDF5 tells what is damaged, unless its codecs lie one over the other in another order.
        if set(after) <= {_CHECKSUM_FILTER}:
            return
        found = most + 1
    if found > most:
        raise InputError(
            f"{name} is more than {most} bytes when decompressed, the most that its voxels need; the file is damaged "
            "or hostile: restore it"
        )
