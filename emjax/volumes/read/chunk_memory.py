"""Refuses chunks that would fill the memory: by the size that metadata declare, and by what a chunk really decodes to.

TensorStore decodes gzip, zlib, bzip2, xz and zstd as streams, and stops where a chunk has more voxels than it declares
(`bounded_chunks.py` has what it decodes as a whole). HDF5 decodes a chunk as a whole, however much that is: so
a suspicious one is decoded here first, and thrown away.
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
# Most bytes that a byte of deflate, or of LZF, can become; chunks that cannot exceed a size need no look.
DEFLATE, _LZF = 1032, 88
_HARMLESS = 1 << 30
_PART = 1 << 20
# Numbers of HDF5's filters.
_DEFLATE_FILTER, _CHECKSUM_FILTER, _SZIP_FILTER, _LZF_FILTER = 1, 3, 4, 32000
_CODERS = (_DEFLATE_FILTER, _LZF_FILTER, _SZIP_FILTER)
# Filters that say in their third and fifth number how many elements of how many bytes they make: nbit, scale-offset.
_COUNTING_FILTERS = (5, 6)
_CHECKSUM_BYTES = 4


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
    found = [made.get_filter(index) for index in range(made.get_nfilters())]
    if not {number for number, *_ in found} & {*_CODERS, *_COUNTING_FILTERS}:
        return
    corner = tuple(corner)
    chunk = data.id.get_chunk_info_by_coord(corner)
    size = chunk.size or 0
    # A filter that would have made the chunk larger was left out of it.
    found = [one for index, one in enumerate(found) if not (chunk.filter_mask or 0) >> index & 1]
    filters = [number for number, *_ in found]
    voxels = math.prod(data.chunks or ()) * data.dtype.itemsize
    most = 2 * voxels + (1 << 20)
    for number, _, values, _ in found:
        if number in _COUNTING_FILTERS and len(values) > 4 and values[2] * values[4] > most:
            raise _too_much(name, most)
        # The size of the memory that is taken at first.
        if number == _LZF_FILTER and len(values) > 2 and values[2] > most:
            raise _too_much(name, most)
    if _DEFLATE_FILTER in filters and 0 < size * DEFLATE < voxels:
        raise InputError(
            f"{name} has {size} bytes, too few for its {voxels} bytes of voxels; the file is damaged: restore it"
        )
    suspicious = (
        (_DEFLATE_FILTER in filters and size * DEFLATE > _HARMLESS)
        or (_LZF_FILTER in filters and size * _LZF > _HARMLESS)
        or (_SZIP_FILTER in filters and size > 0)
    )
    if suspicious and _decodes_to_more(data.id.read_direct_chunk(corner)[1], filters, most):
        raise _too_much(name, most)


def _decodes_to_more(data: bytes, filters: Sequence[int], most: int) -> bool:
    """Whether a chunk as stored is more than so many bytes when decoded, or cannot be looked at."""
    coder = next(number for number in reversed(filters) if number in _CODERS)
    # What comes after it in the order of writing has to be undone first; a checksum stands behind the stream.
    after = filters[filters.index(coder) + 1 :]
    if set(after) - {_CHECKSUM_FILTER}:
        return True
    if after:
        data = data[:-_CHECKSUM_BYTES]
    if coder == _SZIP_FILTER:
        return int.from_bytes(data[:4], "little") > most
    if coder == _LZF_FILTER:
        # Only such chunks need the codecs, which take 0.1 s to import.
        import imagecodecs

        try:
            imagecodecs.lzf_decode(data, out=most)
        except imagecodecs.LzfError as error:
            # It fails where the memory that it is given is too small; HDF5 tells what else is wrong.
            return "not large enough" in str(error)
        return False
    return exceeds(data, most, zlib.MAX_WBITS)


def exceeds(data: bytes, most: int, bits: int) -> bool:
    """Whether a stream of deflate is more than so many bytes when decompressed; a damaged one is not.

    Args:
        data: the stream; what follows it is left alone.
        most: bytes.
        bits: as `zlib.decompressobj` takes it: the header that the stream has.
    """
    decoder, left, found = zlib.decompressobj(bits), data, 0
    try:
        while left and not decoder.eof and found <= most:
            found += len(decoder.decompress(left, _PART))
            left = decoder.unconsumed_tail
    except zlib.error:
        # Those who decode it tell what is damaged.
        return False
    return found > most


def _too_much(name: str, most: int) -> InputError:
    return InputError(
        f"{name} is more than {most} bytes when decompressed, the most that its voxels need; the file is damaged or "
        "hostile: restore it"
    )
