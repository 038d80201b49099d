"""Chunks that would fill the memory, and metadata that declare more than there can be."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.read import chunk_memory
from emjax.volumes.read.chunk_memory import refuse_large_chunk
from emjax.volumes.store import open_volume

SIDES = (64, 64, 64)
HUGE = (10**6, 10**6, 10**6)


def _deflated(size: int) -> bytes:
    """Zeros, deflated as they are made."""
    part, packer = bytes(1 << 20), zlib.compressobj(9)
    return b"".join(packer.compress(part) for _ in range(size >> 20)) + packer.flush()


def _zarr(path: Path, shape: tuple[int, ...], chunk: tuple[int, ...], data: bytes) -> str:
    path.mkdir()
    about = {"zarr_format": 2, "shape": shape, "chunks": chunk, "dtype": "|u1", "order": "C"}
    about |= {"fill_value": 0, "filters": None, "compressor": {"id": "zlib", "level": 1}}
    (path / ".zarray").write_text(json.dumps(about))
    (path / "0.0.0").write_bytes(data)
    return str(path)


def test_a_chunk_may_fill_half_of_the_free_memory(monkeypatch) -> None:
    monkeypatch.setattr(chunk_memory, "free_memory_bytes", lambda: 2000)
    refuse_large_chunk("a", (10, 10, 10), 1)
    refuse_large_chunk("a", (0, 10, 10), 2)
    with pytest.raises(InputError, match="a has chunks of 10x10x10 voxels.*smaller chunks"):
        refuse_large_chunk("a", (10, 10, 10), 2)


def test_metadata_that_declare_1e18_voxels(tmp_path: Path) -> None:
    files = [_zarr(tmp_path / "a.zarr", HUGE, HUGE, b"x")]
    scale = {"key": "8", "size": HUGE, "resolution": [8, 8, 8], "chunk_sizes": [HUGE]}
    scale |= {"encoding": "raw", "voxel_offset": [0, 0, 0]}
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    (tmp_path / "p" / "8").mkdir(parents=True)
    (tmp_path / "p" / "info").write_text(json.dumps(info))
    (tmp_path / "p" / "8" / "0-1000000_0-1000000_0-1000000").write_bytes(b"x")
    files.append(f"{tmp_path}/p")
    for file in files:
        with pytest.raises(InputError, match="GiB that are free"):
            open_volume(file)
    # Small chunks of a huge array are no harm.
    volume = open_volume(_zarr(tmp_path / "b.zarr", HUGE, SIDES, zlib.compress(bytes(64**3))))
    assert volume.read(Box((0, 0, 0), (2, 2, 2))).sum() == 0


def test_a_stream_of_zeros_is_not_decoded_to_its_end(tmp_path: Path) -> None:
    """Of 64 MiB only what the chunk declares, 256 KiB."""
    path = _zarr(tmp_path / "a.zarr", SIDES, SIDES, _deflated(1 << 26))
    with pytest.raises(InputError, match="at uncompressed byte 262144"):
        open_volume(path).read(Box((0, 0, 0), SIDES))


@pytest.mark.parametrize("filters", [{}, {"shuffle": True, "fletcher32": True}])
def test_a_chunk_of_hdf5_that_decodes_to_more(tmp_path: Path, monkeypatch, filters: dict) -> None:
    monkeypatch.setattr(chunk_memory, "_HARMLESS", 1 << 16)
    voxels = np.arange(64**3, dtype=np.uint8).reshape(SIDES)
    for name in ("good.h5", "bad.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            sides = (32, 64, 64)
            data = file.create_dataset("raw", SIDES, "u1", chunks=sides, compression=1, **filters)
            data[...] = voxels
            if name == "bad.h5":
                data.id.write_direct_chunk((32, 0, 0), _deflated(1 << 22) + bytes(4))
    good, bad = (open_volume(f"{tmp_path}/{name}") for name in ("good.h5", "bad.h5"))
    np.testing.assert_array_equal(good.store.read().result(), voxels)
    np.testing.assert_array_equal(bad.read(Box((0, 0, 0), sides)), voxels[:32])
    with pytest.raises(InputError, match=r"chunk \[32:64,0:64,0:64\].*is more than 1310720 bytes"):
        bad.read(Box((32, 0, 0), sides))


def test_a_chunk_of_hdf5_that_cannot_hold_its_voxels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", SIDES, "u1", chunks=SIDES, compression=1)
        data.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(10)))
    with pytest.raises(InputError, match="too few for its 262144 bytes of voxels"):
        open_volume(f"{tmp_path}/a.h5").read(Box((0, 0, 0), SIDES))
