"""Looks at chunks that TensorStore would decode as a whole, however large they become: blosc, and gzip in shards.

The first bytes of a chunk of blosc say how large it becomes, up to 2 GiB, which TensorStore takes before it compares
that with the chunk. gzip in a sharded precomputed volume is decoded to its end, at most 1032 times the chunk. So the
array is read through a view that looks at each chunk first. That costs some 0.2 ms a chunk, much beside what blosc
takes: so blosc is only looked at where as many chunks as there are threads could fill half of the free memory.

Only volumes on a local disk: for one on a server, each look would cost a round trip.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.runs.memory import free_memory_bytes
from emjax.volumes.chunk_sides import read_sides, write_sides
from emjax.volumes.format import Request
from emjax.volumes.read.boxes import refusal
from emjax.volumes.read.folder_metadata import shown
from emjax.volumes.read.opened import chunked
from emjax.volumes.read.outside import most_bytes

# Most bytes that blosc can make of a chunk.
_BLOSC = 1 << 31
_SHARE = 0.5
# Number of chunks that TensorStore decodes at the same time.
_THREADS = max(2, os.cpu_count() or 2)
# Bytes of a chunk of blosc until the end of its size, which is a number of 4 bytes.
_HEAD = 8


class Look(Protocol):
    """Looks at a chunk before it is decoded; picklable."""

    def __call__(self, index: tuple[int, ...]) -> tuple[str, bool]:
        """Returns the name of a chunk, and whether it becomes larger than its voxels need.

        Args:
            index: of the chunk that is decoded at once, in the grid of these.
        """
        ...


def bounded(store: ts.TensorStore, look: Look, request: Request) -> ts.TensorStore:
    """Returns a view of an array, read-only, that refuses chunks which become larger than their voxels need.

    Args:
        store: the array.
        look: at each of its chunks.
        request: gives the cache.
    """
    origin = tuple(store.domain.inclusive_min)
    spec = json.dumps(store.spec().to_json())
    sides = read_sides(store)
    reader = _Looking(
        spec, look, sides, origin, most_bytes(sides, store.dtype.numpy_dtype.itemsize)
    )
    view = chunked(
        reader,
        tuple(store.shape),
        store.dtype.numpy_dtype,
        sides,
        request.context,
        labels=store.domain.labels,
        units=store.dimension_units,
    )
    return view[ts.d[:].translate_to[origin]]


def bounded_blosc(store: ts.TensorStore, base: str, request: Request) -> ts.TensorStore:
    """Returns `bounded` of an array of zarr or N5 on a local disk whose chunks are blosc, else the array.

    Args:
        store: as TensorStore opened it.
        base: URL of its folder, with a slash at its end.
        request: for the volume.

    Raises:
        InputError: if blosc is hidden by another codec.
    """
    if request.remote or _BLOSC * _THREADS <= _SHARE * free_memory_bytes():
        return store
    spec = store.spec().to_json()
    look = _find_blosc(spec["driver"], spec["metadata"], store, base)
    return store if look is None else bounded(store, look, request)


@dataclasses.dataclass(frozen=True)
class _Looking:
    """Reads a part of a chunk after a look at it.

    Attributes:
        spec: of the array, JSON.
        look: at a chunk.
        sides: of the chunk that is decoded at once.
        origin: of the array.
        most: bytes that a chunk may become.
    """

    spec: str
    look: Look
    sides: tuple[int, ...]
    origin: tuple[int, ...]
    most: int

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        index = tuple(s.start // side for s, side in zip(part, self.sides, strict=True))
        name, too_large = self.look(index)
        if too_large:
            raise InputError(
                f"{name} is more than {self.most} bytes when decompressed, the most that its voxels need; the file is "
                "damaged or hostile: restore it"
            )
        moved = tuple(
            slice(s.start + o, s.stop + o) for s, o in zip(part, self.origin, strict=True)
        )
        try:
            return _opened(self.spec)[moved].read().result()
        except (ValueError, OSError, RuntimeError) as error:
            raise refusal(error) from error


@functools.lru_cache(maxsize=64)
def _opened(spec: str) -> ts.TensorStore:
    # A thread pool of its own: the threads of other contexts wait for the chunks decoded here.
    context = ts.Context({"data_copy_concurrency": {"limit": _THREADS}})
    return ts.open(json.loads(spec), open=True, read=True, context=context).result()


@dataclasses.dataclass(frozen=True)
class _Blosc:
    """Looks at the first bytes of a chunk of blosc.

    Attributes:
        base: URL of the array's folder, with a slash at its end.
        start: of the path of a chunk, from there.
        separator: between the numbers of a chunk.
        most: bytes that a chunk may become.
        skipped: bytes before blosc begins.
        shard: chunks along each axis of a shard of zarr 3; empty: there are no shards.
        index: codecs and place of the index of a shard, JSON.
    """

    base: str
    start: str
    separator: str
    most: int
    skipped: int = 0
    shard: tuple[int, ...] = ()
    index: str = ""

    def __call__(self, index: tuple[int, ...]) -> tuple[str, bool]:
        file = (
            tuple(i // n for i, n in zip(index, self.shard, strict=True)) if self.shard else index
        )
        path = self.start + self.separator.join(map(str, file))
        name = f"chunk {'.'.join(map(str, index))} of {shown(self.base)}"
        if self.shard:
            inner = [i % n for i, n in zip(index, self.shard, strict=True)]
            chunks = _shard(self.base, path, self.shard, self.index)
            key = b"".join(i.to_bytes(4, "big") for i in inner)
        else:
            chunks, key = _files(self.base), path
        try:
            # A chunk that is shorter than this fails here, and again when it is read, which says so.
            head = chunks.read(key, byte_range=slice(0, self.skipped + _HEAD)).result()
        except (ValueError, OSError, RuntimeError):
            return name, False
        size = int.from_bytes(head.value[self.skipped + 4 : self.skipped + _HEAD], "little")
        return name, head.state == "value" and size > self.most


def _find_blosc(
    driver: str, metadata: Mapping[str, Any], store: ts.TensorStore, base: str
) -> _Blosc | None:
    """Returns how to look at the chunks of an array; None if they are not blosc."""
    sides = read_sides(store)
    most = most_bytes(sides, store.dtype.numpy_dtype.itemsize)
    if driver == "zarr":
        compressor = metadata.get("compressor") or {}
        separator = metadata.get("dimension_separator", ".")
        return _Blosc(base, "", separator, most) if compressor.get("id") == "blosc" else None
    if driver == "n5":
        # A chunk begins with two numbers of 2 bytes, and its sides, of 4 bytes each.
        kind = metadata.get("compression", {}).get("type")
        return _Blosc(base, "", "/", most, 4 + 4 * store.rank) if kind == "blosc" else None
    encoding = metadata.get("chunk_key_encoding", {})
    v2 = encoding.get("name") == "v2"
    separator = encoding.get("configuration", {}).get("separator", "." if v2 else "/")
    look = _Blosc(base, "" if v2 else f"c{separator}", separator, most)
    codecs = metadata["codecs"]
    if codecs[-1]["name"] == "sharding_indexed":
        sharding = codecs[-1]["configuration"]
        codecs = sharding["codecs"]
        shard = tuple(n // side for n, side in zip(write_sides(store), sides, strict=True))
        index = {
            key: sharding[key] for key in ("index_codecs", "index_location") if key in sharding
        }
        look = dataclasses.replace(look, shard=shard, index=json.dumps(index))
    names = [codec["name"] for codec in codecs]
    if not {"blosc", "sharding_indexed"} & set(names):
        return None
    # A checksum stands at the end of a chunk.
    after = names[names.index("bytes") + 1 :] if "bytes" in names else []
    if after not in (["blosc"], ["blosc", "crc32c"]):
        raise InputError(
            f"{shown(base)} has chunks in which blosc lies below another codec ({', '.join(names)}), so that nobody "
            "knows how much memory they take: write it anew with one codec"
        )
    return look


@functools.lru_cache(maxsize=64)
def _files(base: str) -> ts.KvStore:
    return ts.KvStore.open(base).result()


@functools.lru_cache(maxsize=256)
def _shard(base: str, path: str, grid: Sequence[int], index: str) -> ts.KvStore:
    spec = {"driver": "zarr3_sharding_indexed", "base": f"{base}{path}", "grid_shape": list(grid)}
    return ts.KvStore.open(spec | json.loads(index)).result()
