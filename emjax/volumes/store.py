"""Opens volumes of every format as a lazily read TensorStore with axes z, y, x."""

from __future__ import annotations

import dataclasses
import functools
import math

import tensorstore as ts
from absl import logging

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Triple
from emjax.volumes.address import Address, parse_triple
from emjax.volumes.format import Request
from emjax.volumes.formats import find_format
from emjax.volumes.origin import file_corner, known_origin
from emjax.volumes.read.opened import Opened
from emjax.volumes.resampling import Resampling
from emjax.volumes.volume import Volume

# Bytes of decoded chunks that a process keeps, all volumes together. Without this cache each crop of a TIFF stack
# decodes whole sections again.
CACHE_BYTES = 1 << 30
# The same for volumes that are read block by block.
BLOCK_CACHE_BYTES = 1 << 28
# About 16 s in all: long enough for a server that hiccups, short enough to report one that does not exist.
_RETRIES = {"max_retries": 5, "initial_delay": "500ms", "max_delay": "8s"}
# nm; sizes outside of 0.001 nm to 1 m, 0 and NaN are mistakes of the program that wrote the file.
_LEAST_NM, _MOST_NM = 1e-3, 1e9


@functools.cache
def shared_context(cache_bytes: int = CACHE_BYTES) -> ts.Context:
    """Returns the context, with a cache of this size, that all volumes of this process share.

    Args:
        cache_bytes: size of the cache of decoded chunks.
    """
    retries = {f"{kind}_request_retries": _RETRIES for kind in ("http", "gcs", "s3")}
    return ts.Context({"cache_pool": {"total_bytes_limit": cache_bytes}, **retries})


def open_for_blocks(address: str | Address) -> Volume:
    """Opens a volume to read it block by block: decoded chunks are cached only where several blocks need the same ones.

    So memory does not fill with decoded chunks that nobody reads again.

    Args:
        address: of the volume.

    Raises:
        InputError: as `open_volume`.
    """
    volume = open_volume(address, context=shared_context(0))
    if not volume.slow_random_access:
        return volume
    return open_volume(address, context=shared_context(BLOCK_CACHE_BYTES))


def open_volume(address: str | Address, *, context: ts.Context | None = None) -> Volume:
    """Opens a volume.

    Args:
        address: see `emjax.volumes.address`.
        context: TensorStore context with the cache to use; the shared one of the process when None.

    Raises:
        InputError: if the path, dataset or channel does not exist, the box exceeds the volume, or the volume is not 3D
            or has no voxels.
    """
    address = Address.parse(address) if isinstance(address, str) else address
    opened = _open(address, context or shared_context())
    store = opened.store
    if store.rank not in (3, 4):
        raise InputError(
            f"{address} has axes of {tuple(store.shape)}; a volume needs z, y, x or c, z, y, x"
        )
    if 0 in store.shape:
        raise InputError(
            f"{address} is empty: it has axes of {tuple(store.shape)}; its writer may not have come to its voxels"
        )
    store = _channel(store[ts.d[:].translate_to[0]], address)
    whole = Box((0, 0, 0), tuple(store.shape[-3:]))
    if "voxel_nm" in address.keys:
        voxel_nm = parse_triple(address.keys["voxel_nm"], "voxel_nm")
    else:
        voxel_nm = _possible(opened.voxel_nm, str(address))
    volume = Volume(store, voxel_nm, address, whole, opened.slow)
    if "nearest_nm" in address.keys:
        volume = _at_nearest(volume)
        address, whole = volume.address, volume.box
    if not address.box:
        return volume
    try:
        part = volume.crop(Box.from_text(address.box, whole.size))
    except InputError as error:
        raise InputError(f"{address.path}: {error}") from error
    return dataclasses.replace(part, address=address)


def _at_nearest(volume: Volume) -> Volume:
    """Returns a volume of ids at the voxel size that `nearest_nm` of its address asks for: each of the nearest voxel.

    Its address says where it lies in its own voxels, where the file says a place.
    """
    address = volume.address
    target_nm = parse_triple(address.keys["nearest_nm"], "nearest_nm")
    if volume.voxel_nm is None:
        raise InputError(
            f"{address} does not say its voxel size, which nearest_nm needs; add voxel_nm=Z,Y,X to its keys"
        )
    # An offset of the address counts voxels of the new size.
    stated = {name: value for name, value in address.keys.items() if name != "offset"}
    corner = file_corner(dataclasses.replace(address, keys=stated))
    grid = Resampling.centred(volume.size, volume.voxel_nm, target_nm, corner)
    target = Box((0, 0, 0), grid.target_size)
    z, y, x = (grid.nearest_voxels(axis, target) for axis in range(3))
    store = volume.store.oindex[..., z, y, x]
    if known_origin(volume) is not None and "offset" not in address.keys:
        offset = ",".join(map(str, grid.first))
        address = dataclasses.replace(address, keys={**address.keys, "offset": offset})
    return dataclasses.replace(volume, store=store, voxel_nm=target_nm, address=address, box=target)


def _open(address: Address, context: ts.Context) -> Opened:
    """Finds the format of an address and opens it."""
    request = Request(address, context)
    try:
        form = find_format(request)
        form.check(request)
        return form.open(request)
    except PermissionError as error:
        raise InputError(
            f"no permission to read {error.filename or request.path}; ask its owner, or copy it"
        ) from error


def _possible(voxel_nm: Triple | None, name: str) -> Triple | None:
    """Returns the voxel size that a file states; where no voxel can have that size, logs it and returns None."""
    if voxel_nm is None:
        return None
    z, y, x = (float(nm) for nm in voxel_nm)
    if all(math.isfinite(nm) and _LEAST_NM <= nm <= _MOST_NM for nm in (z, y, x)):
        return z, y, x
    _say_impossible(name, ",".join(f"{nm:g}" for nm in voxel_nm))
    return None


@functools.cache
def _say_impossible(name: str, size: str) -> None:
    logging.warning(
        "%s says that its voxels are %s nm (z, y, x), which cannot be: their size is taken as unknown; add "
        "?voxel_nm=Z,Y,X to its address",
        name,
        size,
    )


def _channel(store: ts.TensorStore, address: Address) -> ts.TensorStore:
    if "channel" not in address.keys:
        return store
    channel = address.whole_number("channel", "0 for the first")
    if store.rank == 3:
        raise InputError(f"{address.path} has one channel alone; leave out channel={channel}")
    if channel >= store.shape[0]:
        raise InputError(f"{address.path} has channels 0 to {store.shape[0] - 1}, not {channel}")
    return store[channel]
