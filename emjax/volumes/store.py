"""Every format as one lazily read TensorStore with axes z, y, x."""

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
from emjax.volumes.read.opened import Opened
from emjax.volumes.volume import Volume

# Decoded chunks of all volumes of a process that are kept. Without it a crop of a TIFF stack decodes whole sections
# again.
CACHE_BYTES = 1 << 30
# The same where a volume is read block by block.
BLOCK_CACHE_BYTES = 1 << 28
# Some 16 s in all: a server that is not there is told from one that hiccups before its user goes to lunch.
_RETRIES = {"max_retries": 5, "initial_delay": "500ms", "max_delay": "8s"}
# nm; what is beyond, 0 or no number is an error of the writer: 0.001 nm to 1 m.
_LEAST_NM, _MOST_NM = 1e-3, 1e9


@functools.cache
def shared_context(cache_bytes: int = CACHE_BYTES) -> ts.Context:
    """Returns the one cache of a size that volumes of this process share.

    Args:
        cache_bytes: of decoded chunks kept.
    """
    retries = {f"{kind}_request_retries": _RETRIES for kind in ("http", "gcs", "s3")}
    return ts.Context({"cache_pool": {"total_bytes_limit": cache_bytes}, **retries})


def open_for_blocks(address: str | Address) -> Volume:
    """Opens a volume that is read block by block: what was decoded is kept only where several blocks need the same.

    So memory does not grow with the volume until a cache is full of what nobody reads again.

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
        context: with the cache to use; that of the process when None.

    Raises:
        InputError: if there is no such path, dataset or channel, the box leaves the volume, it is not 3D, or has no
            voxels.
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
    if not address.box:
        return volume
    try:
        part = volume.crop(Box.from_text(address.box, whole.size))
    except InputError as error:
        raise InputError(f"{address.path}: {error}") from error
    return dataclasses.replace(part, address=address)


def _open(address: Address, context: ts.Context) -> Opened:
    """Finds the format and opens it."""
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
    """Returns the size of a voxel that a file gives, or None, and says so, where no voxel can have it."""
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
