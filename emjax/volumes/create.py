"""Makes volumes in OME-Zarr 0.5 on zarr 3: sharded, zstd, with a checksum for every chunk and shard index."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.sizes import Size, Triple
from emjax.volumes.address import local_path
from emjax.volumes.attributes import (
    ATTRIBUTE,
    first_sentence,
    folder_url,
    read_file,
)
from emjax.volumes.write.deletion import delete_groups, first_file, is_local, list_owned
from emjax.volumes.write.ome import ome_attributes
from emjax.volumes.write.pyramid import Level, chunk_size, shard_size

_ZSTD_LEVEL = 3
# Files that show that a folder is a zarr volume, whole or half made.
_WHOLE = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_HALF = "0/zarr.json"
# The files that `create_volume` and the writers make, in the order in which they are deleted: voxels, then the metadata
# of levels, then that of the group, which says whose they are.
_OWNED = tuple(map(re.compile, (r"\d+/c(/\d+)+", r"\d+/zarr\.json", r"zarr\.json")))
_DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)


def create_volume(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    dtype: str | np.dtype | type,
    voxel_nm: Triple | None,
    attributes: Mapping[str, Any],
    chunk: Size | None = None,
    shard: Size | None = None,
    overwrite: bool = False,
    origin: Triple = (0, 0, 0),
    coarser: Sequence[Level] = (),
    downscaling: str = "",
) -> ts.TensorStore:
    """Makes an empty volume on disk.

    Two processes must never write the same shard, so blocks of work are multiples of the shard.

    Args:
        path: folder to make, or an address that TensorStore writes (`gs://...`).
        shape: (z, y, x) or (c, z, y, x) voxels.
        dtype: of the voxels.
        voxel_nm: (z, y, x) voxel size, nm; None where it is unknown.
        attributes: stored as the group attribute `emjax`.
        chunk: (z, y, x) voxels that are compressed together; about isotropic in nm when None.
        shard: (z, y, x) voxels of a file, a multiple of the chunk; four chunks along each axis when None.
        overwrite: delete the volume that is already there.
        origin: (z, y, x) voxel of the whole at which the volume begins, so that viewers lay a part over its whole.
        coarser: the coarser levels of the pyramid, fine to coarse; their arrays are made empty too.
        downscaling: how the coarser levels are made from the finer ones, such as 'mean'; '' leaves it unsaid.

    Returns:
        The array of full resolution, opened to read and write, filled with 0.

    Raises:
        InputError: if there is already a volume, or anything else that must not be deleted; if the shard is no
            multiple of the chunk, or the place cannot be written.
    """
    shape, dtype = tuple(int(n) for n in shape), np.dtype(dtype)
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise InputError(
            f"{path}: a volume of shape {shape} needs z, y, x or c, z, y, x, each 1 or more"
        )
    if dtype.name not in _DTYPES:
        raise InputError(f"{path}: a volume cannot be of {dtype}; use one of {', '.join(_DTYPES)}")
    chunk = chunk or chunk_size(shape[-3:], voxel_nm)
    shard = shard or shard_size(shape[-3:], chunk)
    levels = [Level(shape[-3:], (1, 1, 1), tuple(chunk), tuple(shard)), *coarser]
    for level in levels:
        if any(s < 1 or s % c for s, c in zip(level.shard, level.chunk, strict=True)):
            raise InputError(
                f"{path}: shards of {level.shard} voxels are no multiple of the chunks of {level.chunk}"
            )
    base = folder_url(path)
    _make_room(path, overwrite)
    try:
        # Full resolution comes first: a half-made volume is recognised by it.
        stores = [
            _create_array(f"{base}{number}/", shape[:-3], dtype, level)
            for number, level in enumerate(levels)
        ]
        # The group comes last: a folder that has this file is a whole, though empty, volume.
        group = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {
                "ome": ome_attributes(
                    _name(path),
                    len(shape),
                    voxel_nm,
                    origin,
                    factors=[level.factor for level in levels],
                    downscaling=downscaling,
                ),
                ATTRIBUTE: dict(attributes),
            },
        }
        ts.KvStore.open(base).result().write("zarr.json", json.dumps(group, indent=2)).result()
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"cannot write {path}: {first_sentence(error)}") from error
    return stores[0]


def open_created(path: str | os.PathLike[str], level: int = 0) -> ts.TensorStore:
    """Opens a volume that `create_volume` made, to write further blocks of it.

    Args:
        path: as given to `create_volume`.
        level: of the pyramid; 0 is full resolution.

    Raises:
        InputError: if the volume does not exist.
    """
    try:
        # "open": voxels that another process wrote since are not served from the cache.
        spec = {
            "driver": "zarr3",
            "kvstore": f"{folder_url(path)}{level}/",
            "recheck_cached_data": "open",
        }
        return ts.open(spec, open=True).result()
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"cannot open {path} for writing: {first_sentence(error)}") from error


def set_attributes(path: str | os.PathLike[str], attributes: Mapping[str, Any]) -> None:
    """Replaces the group attribute `emjax` of an existing volume.

    Args:
        path: as given to `create_volume`.
        attributes: plain values that JSON can hold.

    Raises:
        InputError: if there is no volume, or it cannot be written.
    """
    base = folder_url(path)
    try:
        group = json.loads(read_file(base, "zarr.json") or b"")
        group["attributes"][ATTRIBUTE] = dict(attributes)
        ts.KvStore.open(base).result().write("zarr.json", json.dumps(group, indent=2)).result()
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        raise InputError(f"cannot write {path}: {first_sentence(error)}") from error


def volume_exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is a volume that was made completely, though it may still be empty."""
    return read_file(folder_url(path), "zarr.json") is not None


def check_free(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Checks, before anything expensive, that a volume can be made; changes nothing.

    Args:
        path: as for `create_volume`.
        overwrite: whether an existing volume that emjax wrote may be deleted; nothing else is ever deleted.

    Raises:
        InputError: if something is there that must not be deleted.
    """
    if is_local(path):
        local = local_path(path)
        if os.path.lexists(local) and not local.is_dir():
            raise InputError(f"{path} exists and is no zarr volume; give another output")
    if _has_traces(path):
        if not overwrite:
            raise InputError(
                f"{path} exists; give another output, or --config.overwrite=true to replace it"
            )
        _list_owned(path)
    elif is_local(path) and (other := first_file(path)):
        raise InputError(
            f"{path} exists and is no zarr volume: it holds {other}; give another output"
        )


def is_half_made(path: str | os.PathLike[str]) -> bool:
    """Whether a run was killed here while it made or deleted a volume: the group or an array of it is not there."""
    base = folder_url(path)
    text = read_file(base, "zarr.json")
    if text is None:
        return _has_traces(path)
    try:
        attributes = json.loads(text)["attributes"]
        levels = [item["path"] for item in attributes["ome"]["multiscales"][0]["datasets"]]
    except (ValueError, LookupError, TypeError):
        return False
    ours = ATTRIBUTE in attributes
    return ours and any(read_file(base, f"{level}/zarr.json") is None for level in levels)


def delete_volume(path: str | os.PathLike[str]) -> None:
    """Deletes a volume that emjax wrote, whole or half made, and nothing else.

    Raises:
        InputError: if the folder is no such volume, or holds anything else.
    """
    _make_room(path, overwrite=True)


def _create_array(
    url: str, channels: Sequence[int], dtype: np.dtype, level: Level
) -> ts.TensorStore:
    rank = len(channels) + 3
    metadata = {
        "shape": [*channels, *level.size],
        "data_type": dtype.name,
        "fill_value": np.zeros((), dtype).item(),
        "dimension_names": ["c", "z", "y", "x"][-rank:],
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [*channels, *level.shard]},
        },
        "codecs": [_sharding([1] * len(channels) + list(level.chunk))],
    }
    spec = {"driver": "zarr3", "kvstore": url, "metadata": metadata}
    return ts.open(spec, create=True, open=False).result()


def _sharding(chunk: list[int]) -> dict[str, Any]:
    raw = {"name": "bytes", "configuration": {"endian": "little"}}
    checksum = {"name": "crc32c"}
    zstd = {"name": "zstd", "configuration": {"level": _ZSTD_LEVEL, "checksum": False}}
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": chunk,
            "codecs": [raw, zstd, checksum],
            "index_codecs": [raw, checksum],
        },
    }


def _make_room(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Deletes the volume that is there, if `overwrite` allows it."""
    check_free(path, overwrite)
    if _has_traces(path):
        delete_groups(path, _list_owned(path))


def _list_owned(path: str | os.PathLike[str]) -> list[list[str]]:
    """Lists the files of a volume that emjax wrote, whole or half made; refuses any other."""
    base = folder_url(path)
    text = read_file(base, "zarr.json")
    # The group is made last: until then, the arrays say by their codecs who made them.
    ours = _is_our_group(text) if text is not None else _is_our_array(read_file(base, _HALF))
    if not ours:
        raise InputError(
            f"{path} exists and was not written by emjax, which deletes only what it wrote; delete it yourself, or "
            "give another output"
        )
    return list_owned(path, _OWNED)


def _is_our_group(text: bytes) -> bool:
    try:
        return ATTRIBUTE in json.loads(text)["attributes"]
    except (ValueError, LookupError, TypeError):
        return False


def _is_our_array(text: bytes | None) -> bool:
    try:
        array = json.loads(text or b"")
        (sharding,) = array["codecs"]
        inner = [codec["name"] for codec in sharding["configuration"]["codecs"]]
        axes = array["dimension_names"]
    except (ValueError, LookupError, TypeError):
        return False
    return inner == ["bytes", "zstd", "crc32c"] and axes in (list("zyx"), list("czyx"))


def _has_traces(path: str | os.PathLike[str]) -> bool:
    base = folder_url(path)
    return any(read_file(base, name) is not None for name in (*_WHOLE, _HALF))


def _name(path: str | os.PathLike[str]) -> str:
    return os.path.basename(os.fspath(path).rstrip("/")).split(".")[0] or "volume"
