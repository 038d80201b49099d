"""Chunks of precomputed volumes that CloudVolume compressed on a local disk: `0-64_0-64_0-64.gz`.

On a server the same files have names without a suffix, and an HTTP header says how they are compressed. A disk has no
headers, so CloudVolume appends a suffix that TensorStore does not look for. Here each file is decompressed, and
TensorStore decodes the result, so that all of its encodings can be read.
"""

from __future__ import annotations

import bz2
import dataclasses
import functools
import itertools
import json
import lzma
import os
import threading
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.attributes import first_sentence
from emjax.volumes.chunk_sides import read_sides
from emjax.volumes.format import Request
from emjax.volumes.read.chunks import Chunks
from emjax.volumes.read.folder_metadata import shown
from emjax.volumes.read.missing import ERROR
from emjax.volumes.read.opened import chunked
from emjax.volumes.read.outside import most_bytes


def _streamed(make: Callable[[], Any]) -> Callable[[bytes, int], bytes]:
    """Returns a function that decompresses at most so many bytes, and one more where there are more."""

    def decompress(data: bytes, most: int) -> bytes:
        found, left = b"", data
        # Files may be several streams, one behind the other.
        while left and len(found) <= most:
            decoder = make()
            found += decoder.decompress(left, most + 1 - len(found))
            if not decoder.eof and len(found) <= most:
                raise EOFError("compressed data ended before the end of the stream")
            left = decoder.unused_data
        return found

    return decompress


def _with_codec(name: str) -> Callable[[bytes, int], bytes]:
    def decompress(data: bytes, most: int) -> bytes:
        # Only volumes that are compressed so need the codecs, which take 0.1 s to import.
        import imagecodecs

        # The size is that of the memory into which it decompresses, and it fails where that is too small.
        return bytes(getattr(imagecodecs, name)(data, out=most))

    return decompress


# File name suffixes of CloudVolume, and the function that decompresses each, to a number of bytes at most.
CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "": lambda data, most: data,
    ".gz": _streamed(lambda: zlib.decompressobj(zlib.MAX_WBITS | 16)),
    ".br": _with_codec("brotli_decode"),
    ".zstd": _with_codec("zstd_decode"),
    ".bz2": _streamed(bz2.BZ2Decompressor),
    ".xz": _streamed(lzma.LZMADecompressor),
}
# Number of chunks that are decoded at the same time.
_THREADS = max(2, os.cpu_count() or 2)
# Most names of a folder that are looked at before it is assumed that no chunk is compressed.
_MOST_NAMES = 200_000


def any_compressed(chunks: Chunks) -> bool:
    """Whether a local folder of chunks has some whose names end as compressed chunks do."""
    folder = os.path.dirname(os.path.join(shown(chunks.base), chunks.first))
    try:
        entries = os.scandir(folder)
    except OSError:
        return False
    endings = tuple(ending for ending in CODECS if ending)
    with entries:
        names = (entry.name for entry in itertools.islice(entries, _MOST_NAMES))
        return any(name.endswith(endings) for name in names)


def open_compressed(base: str, info: dict[str, Any], request: Request) -> ts.TensorStore:
    """Opens a scale (level) whose chunks may be compressed.

    Args:
        base: URL of the volume's folder on this machine, with a slash at its end.
        info: the volume's `info`.
        request: the request for the volume.

    Returns:
        A store with axes x, y, z, channel; its origin as the volume says.

    Raises:
        InputError: if TensorStore cannot open the volume.
    """
    text = json.dumps(info)
    try:
        store = _decoder(text, request.level).store
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{shown(base)} cannot be opened: {first_sentence(error)}") from error
    scale = info["scales"][request.level]
    layout = read_sides(store)
    offset = tuple(store.domain.inclusive_min)
    folder = os.path.join(shown(base), scale["key"].strip("/"))
    reader = _Compressed(text, request.level, folder, offset, request.missing == ERROR)
    dtype = store.dtype.numpy_dtype
    read = chunked(reader, tuple(store.shape), dtype, layout, request.context)
    return read[ts.d[:].translate_to[offset]]


@dataclasses.dataclass(frozen=True)
class _Compressed:
    """Reads one chunk at a time, as `chunked` requests them.

    Attributes:
        info: the volume's `info`, JSON.
        level: number of the scale.
        folder: folder of the chunks.
        offset: (x, y, z, channel) of the first voxel, from which the names of chunks count.
        strict: whether absent chunks are refused.
    """

    info: str
    level: int
    folder: str
    offset: tuple[int, ...]
    strict: bool

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        ranges = [(s.start + o, s.stop + o) for s, o in zip(part[:3], self.offset[:3], strict=True)]
        name = "_".join(f"{start}-{stop}" for start, stop in ranges)
        shape = (
            *(s.stop - s.start for s in part[:3]),
            _decoder(self.info, self.level).store.shape[3],
        )
        found = self._bytes(name, most_bytes(shape, _decoder(self.info, self.level).dtype.itemsize))
        if found is None:
            if self.strict:
                raise InputError(
                    f"{os.path.join(self.folder, name)} is missing, also with .gz behind its name; restore it, or "
                    "add ?missing=fill to take absent chunks as 0"
                )
            return np.zeros([s.stop - s.start for s in part], _decoder(self.info, self.level).dtype)
        path, data = found
        try:
            return _decoder(self.info, self.level).decode(name, data, ranges)[..., part[3]]
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"{path} cannot be decoded: {first_sentence(error)}; the file is damaged: restore it"
            ) from error

    def _bytes(self, name: str, most: int) -> tuple[str, bytes] | None:
        """Returns the file of a chunk and its decompressed content; None if there is no file."""
        for ending, decompress in CODECS.items():
            path = os.path.join(self.folder, name + ending)
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                continue
            try:
                decompressed = decompress(data, most)
            except Exception as error:  # each codec has errors of its own
                raise InputError(
                    f"{path} cannot be decompressed: {error}; the file is damaged: restore it"
                ) from error
            if len(decompressed) > most:
                raise InputError(
                    f"{path} is more than {most} bytes when decompressed, the most that its voxels need; the file is "
                    "damaged or hostile: restore it"
                )
            return path, decompressed
        return None


class _Decoder:
    """Decodes chunks in memory with TensorStore."""

    def __init__(self, info: str, level: int) -> None:
        self._key = json.loads(info)["scales"][level]["key"].strip("/")
        # A thread pool of its own: the threads of other contexts wait for the chunks decoded here.
        context = ts.Context({"data_copy_concurrency": {"limit": _THREADS}})
        self._memory = ts.KvStore.open("memory://", context=context).result()
        self._memory.write("info", info).result()
        self.store = ts.open(
            {
                "driver": "neuroglancer_precomputed",
                "kvstore": "memory://",
                "scale_index": level,
                "fill_missing_data_reads": False,
            },
            open=True,
            read=True,
            context=context,
        ).result()
        self.dtype = self.store.dtype.numpy_dtype
        # Threads may decode at the same time, but not the same chunk, as it is kept under one name meanwhile.
        self._locks = [threading.Lock() for _ in range(64)]

    def decode(self, name: str, data: bytes, ranges: list[tuple[int, int]]) -> np.ndarray:
        """Decodes the bytes of a chunk to `[x, y, z, channel]`."""
        key = f"{self._key}/{name}"
        with self._locks[hash(key) % len(self._locks)]:
            self._memory.write(key, data).result()
            try:
                part = tuple(slice(start, stop) for start, stop in ranges)
                return self.store[part].read().result()
            finally:
                self._memory.write(key, None).result()


@functools.lru_cache(maxsize=16)
def _decoder(info: str, level: int) -> _Decoder:
    return _Decoder(info, level)
