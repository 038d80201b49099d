"""Reads Neuroglancer precomputed volumes, plain or sharded; on a disk also files that CloudVolume compressed."""

from __future__ import annotations

import math
import re
from typing import Any

from emjax.errors import InputError
from emjax.volumes.axes import arrange
from emjax.volumes.chunk_sides import read_sides
from emjax.volumes.format import Format, Request, Writer
from emjax.volumes.place import Place
from emjax.volumes.read.arrays import check_level, checked, open_store
from emjax.volumes.read.bounded_chunks import bounded
from emjax.volumes.read.chunks import Chunks, refuse_if_none
from emjax.volumes.read.compressed_chunks import any_compressed, open_compressed
from emjax.volumes.read.folder_metadata import shown
from emjax.volumes.read.opened import Opened
from emjax.volumes.read.outside import inside, most_bytes
from emjax.volumes.read.sharded_chunks import find_sharded

# Names of the axes, in the order in which TensorStore opens a scale (level).
_NAMES = ("x", "y", "z", "c")
_DRIVER = "neuroglancer_precomputed"


def open_precomputed(request: Request) -> Opened:
    """Opens a scale of a volume, whose axes are x, y, z, channel.

    Raises:
        InputError: if there is no such scale, or it cannot be read; if none of its chunks exist.
    """
    base, info = request.base, _info(request)
    scales = info["scales"]
    check_level(base, request.level, len(scales))
    scale = scales[request.level]
    chunks = _chunks(base, scale)
    if not request.remote and "sharding" not in scale and any_compressed(chunks):
        store = open_compressed(base, info, request)
    else:
        refuse_if_none(chunks, request, info)
        store = open_store(base, _DRIVER, request, scale_index=request.level)
        most = most_bytes(read_sides(store), store.dtype.numpy_dtype.itemsize)
        look = None if request.remote else find_sharded(base, scale, most)
        store = store if look is None else bounded(store, look, request)
    voxel_nm = tuple(float(v) for v in reversed(scale["resolution"]))
    return Opened(arrange(store, _NAMES, shown(base)), voxel_nm)


def where(request: Request) -> Place | None:
    """Reads `voxel_offset`, in voxels of the scale, counted from the common corner of all scales."""
    scale = _info(request)["scales"][request.level]
    return Place.of(scale.get("voxel_offset", (0, 0, 0))[::-1])


def _info(request: Request) -> dict[str, Any]:
    """Returns the `info` of a volume; raises InputError if there is none."""
    info = request.metadata["info"]
    if info is None:
        raise InputError(f"{shown(request.base)} is no precomputed volume: it has no file 'info'")
    for scale in info.get("scales") or ():
        inside(request.address, str(scale.get("key", "")))
    return info


def _chunks(base: str, scale: dict[str, Any]) -> Chunks:
    """Returns the chunk files of a scale: one for each chunk, or shards."""
    folder, sharding = scale["key"].strip("/"), scale.get("sharding")
    size, sides = scale["size"], scale["chunk_sizes"][0]
    if sharding:
        bits = int(sharding.get("shard_bits", 0))
        digits = -(-bits // 4)
        grid = (1 << bits,)
        return Chunks(
            base,
            grid,
            lambda index: f"{folder}/{index[0]:0{digits}x}.shard",
            "/".join([*map(re.escape, folder.split("/")), r"[0-9a-f]*\.shard"]),
        )
    offset = scale.get("voxel_offset", (0, 0, 0))
    grid = tuple(math.ceil(n / c) for n, c in zip(size, sides, strict=True))

    def name(index: tuple[int, ...]) -> str:
        ranges = []
        for i, n, c, o in zip(index, size, sides, offset, strict=True):
            ranges.append(f"{o + i * c}-{o + min(n, (i + 1) * c)}")
        return f"{folder}/{'_'.join(ranges)}"

    return Chunks(base, grid, name)


FORMAT = Format(
    title="Neuroglancer precomputed: raw, jpeg, png, compressed_segmentation, plain or sharded",
    given="a precomputed folder",
    examples=("precomputed_folder?level=1",),
    reads="its chunks",
    voxel_nm="`resolution` of the scale",
    place="`voxel_offset` of the scale",
    open=checked(open_precomputed),
    where=where,
    claims=lambda request: "scales" in (request.metadata["info"] or {}),
    remote=True,
    datasets=True,
    levels=True,
    missing="fill",
    absent="a chunk that was never written",
    writer=Writer(
        "emjax.volumes.write.precomputed:PrecomputedOutput",
        (".precomputed",),
        "NAME.precomputed or precomputed://ADDRESS (Neuroglancer)",
    ),
)
