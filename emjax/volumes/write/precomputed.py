"""Writes Neuroglancer's `precomputed` format: sharded, lossless, with all scales in one `info`."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.volumes.address import local_path
from emjax.volumes.attributes import ATTRIBUTE, first_sentence, folder_url, read_file
from emjax.volumes.write.casting import LABELS, holds
from emjax.volumes.write.deletion import delete_groups, first_file, is_local, list_owned
from emjax.volumes.write.output import NewVolume
from emjax.volumes.write.pyramid import Level

_INFO = "info"
_IMAGES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")
# Types that `compressed_segmentation` can hold.
_LABELS = ("uint32", "uint64")
# Names of the folders of scales, and of the files in them and beside them; as emjax writes them, nothing else.
_NUMBER = r"\d[\d.]*(e[+-]?\d+)?"
_KEY = re.compile(rf"{_NUMBER}_{_NUMBER}_{_NUMBER}")
_OWNED = (re.compile(rf"{_KEY.pattern}/[0-9a-f]+\.shard"), re.compile(_INFO))


@dataclasses.dataclass(frozen=True)
class PrecomputedOutput:
    """A folder with an `info` and one folder for each scale.

    Attributes:
        path: of the folder, or a URL that TensorStore can write.
    """

    path: str
    most_levels: int = dataclasses.field(default=0, init=False)
    shared: bool = dataclasses.field(default=True, init=False)
    any_shard: bool = dataclasses.field(default=False, init=False)
    # Not part of `repr`, which identifies a conversion: runs that earlier versions began can continue.
    whole_sections: bool = dataclasses.field(default=False, init=False, repr=False)
    hidden: bool = dataclasses.field(default=False, init=False, repr=False)

    def suit(self, dtype: np.dtype, kind: str) -> np.dtype:
        """Returns `dtype`; for labels, the narrower of 32 and 64 bits that holds all of its values."""
        known = _LABELS if kind == LABELS else _IMAGES
        if dtype.name in known:
            return dtype
        for name in known if kind == LABELS else ():
            if holds(np.dtype(name), dtype):
                return np.dtype(name)
        raise InputError(
            f"a precomputed volume cannot hold {kind} of {dtype}; set dtype to one of {', '.join(known)}"
        )

    def check(self, new: NewVolume) -> None:
        """Checks voxel size and shards; see `Output`."""
        if new.voxel_nm is None:
            raise InputError(
                f"{self.path}: a precomputed volume needs the size of a voxel, which the input does not say; add "
                "?voxel_nm=Z,Y,X to it"
            )
        _info(new)

    def check_free(self, overwrite: bool) -> None:
        """See `Output`."""
        if self.exists():
            if not overwrite:
                raise InputError(
                    f"{self.path} exists; give another output, or --config.overwrite=true to replace it"
                )
            self._list_owned()
        elif is_local(self.path):
            local = local_path(self.path)
            if os.path.lexists(local) and (not local.is_dir() or first_file(self.path)):
                raise InputError(
                    f"{self.path} exists and is no precomputed volume; give another output"
                )

    def exists(self) -> bool:
        """See `Output`."""
        return "scales" in self._read_info()

    def is_half_made(self) -> bool:
        """Returns False: `info` is all the metadata there is, and is written in one piece."""
        return False

    def attributes(self) -> dict[str, Any]:
        """See `Output`."""
        return self._read_info().get(ATTRIBUTE, {})

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """See `Output`."""
        self._write_info(self._read_info() | {ATTRIBUTE: dict(attributes)})

    def delete(self) -> None:
        """Deletes the scales that emjax wrote, then the `info`; meshes and all other files stay.

        After a kill in between, the `info` still says whose volume it is.
        """
        if self.exists():
            delete_groups(self.path, self._list_owned())

    def create(self, new: NewVolume) -> None:
        """See `Output`."""
        self._write_info(_info(new) | {ATTRIBUTE: dict(new.attributes)})

    def open(self, level: int = 0) -> ts.TensorStore:
        """See `Output`."""
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": folder_url(self.path),
            "scale_index": level,
            "recheck_cached_data": "open",
        }
        try:
            store = ts.open(spec, open=True).result()
        except (ValueError, OSError, RuntimeError) as error:
            raise InputError(
                f"cannot open {self.path} for writing: {first_sentence(error)}"
            ) from error
        store = store[ts.d[3, 2, 1, 0].transpose[:]][ts.d[:].translate_to[0]]
        return store[0] if store.shape[0] == 1 else store

    def finish(self) -> None:
        """Does nothing: the output has its final name from the start."""

    def _list_owned(self) -> list[list[str]]:
        """Lists the files of a volume that emjax wrote; refuses any other."""
        info = self._read_info()
        keys = [str(scale.get("key")) for scale in info["scales"]]
        if ATTRIBUTE not in info:
            raise InputError(
                f"{self.path} exists and was not written by emjax, which deletes only what it wrote; delete it "
                "yourself, or give another output"
            )
        # TensorStore takes '%2e%2e' for '..' and a backslash for '/', so that only keys of emjax's form are followed.
        if foreign := [key for key in keys if not _KEY.fullmatch(key)]:
            raise InputError(
                f"{self.path}: its info has a scale '{foreign[0]}', a folder that emjax did not write and will not "
                "delete; delete the volume yourself, or give another output"
            )
        return list_owned(self.path, _OWNED, inside=[*(f"{key}/" for key in keys), _INFO])

    def _write_info(self, info: Mapping[str, Any]) -> None:
        try:
            folder = ts.KvStore.open(folder_url(self.path)).result()
            folder.write(_INFO, json.dumps(info, indent=2)).result()
        except (ValueError, OSError, RuntimeError) as error:
            raise InputError(f"cannot write {self.path}: {first_sentence(error)}") from error

    def _read_info(self) -> dict[str, Any]:
        text = read_file(folder_url(self.path), _INFO)
        try:
            info = json.loads(text) if text else {}
        except ValueError:
            return {}
        return info if isinstance(info, dict) else {}


def _info(new: NewVolume) -> dict[str, Any]:
    """Returns the `info` of a volume; its axes are x, y, z.

    Source: Neuroglancer's precomputed format, https://github.com/google/neuroglancer
    """
    assert new.voxel_nm is not None
    labels = new.kind == LABELS
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation" if labels else "image",
        "data_type": new.dtype,
        "num_channels": new.channels or 1,
        "scales": [_scale(level, new.voxel_nm, new.origin, labels) for level in new.levels],
    }


def _scale(level: Level, voxel_nm: Triple, origin: Triple, labels: bool) -> dict[str, Any]:
    nm = [_plain(n * f) for n, f in zip(voxel_nm, level.factor, strict=True)][::-1]
    # Offsets are whole voxels of the scale, so a coarse scale may lie up to one voxel off if a box begins between two.
    offset = [int(o // f) for o, f in zip(origin, level.factor, strict=True)]
    blocks = {"compressed_segmentation_block_size": [8, 8, 8]} if labels else {}
    return {
        "key": "_".join(map(str, nm)),
        "size": list(level.size[::-1]),
        "resolution": nm,
        "voxel_offset": offset[::-1],
        "chunk_sizes": [list(level.chunk[::-1])],
        "encoding": "compressed_segmentation" if labels else "raw",
        **blocks,
        "sharding": _sharding(level),
    }


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else value


def _sharding(level: Level) -> dict[str, Any]:
    """Returns the sharding of a scale: which chunks share a file.

    Chunks are numbered along a compressed Morton curve (x first), and a file holds 2^n consecutive ones: the shards
    are boxes if n is one of the numbers at which the curve has filled the box.
    """
    chunks = [-(-n // c) for n, c in zip(level.size, level.chunk, strict=True)][::-1]
    wanted = [
        -(-min(s, n) // c) for s, n, c in zip(level.shard, level.size, level.chunk, strict=True)
    ][::-1]
    axes = [axis for bit in range(64) for axis in range(3) if 1 << bit < chunks[axis]]
    filled = [1, 1, 1]
    preshift = 0
    for axis in axes:
        if [min(f, n) for f, n in zip(filled, chunks, strict=True)] == wanted:
            break
        filled[axis] *= 2
        preshift += 1
    if [min(f, n) for f, n in zip(filled, chunks, strict=True)] != wanted:
        raise InputError(
            f"shards of {level.shard} voxels cannot be files of a precomputed volume with chunks of {level.chunk}: use "
            "2, 4 or 8 chunks, the same number along each axis"
        )
    return {
        "@type": "neuroglancer_uint64_sharded_v1",
        "hash": "identity",
        "preshift_bits": preshift,
        "minishard_bits": 0,
        "shard_bits": len(axes) - preshift,
        "data_encoding": "gzip",
        "minishard_index_encoding": "gzip",
    }
