"""Chunks that would fill the memory, and metadata that declare more than there can be."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import h5py
import imagecodecs
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


def _hdf5(path: Path, filters: dict, data: bytes, mask: int = 0) -> str:
    with h5py.File(path, "w") as file:
        made = file.create_dataset("raw", SIDES, "u1", chunks=SIDES, **filters)
        made.id.write_direct_chunk((0, 0, 0), data, filter_mask=mask)
    return str(path)


def test_lzf_of_hdf5(tmp_path: Path, monkeypatch) -> None:
    """47 kB that become 4 MiB; a chunk that LZF would not make smaller is stored without it."""
    monkeypatch.setattr(chunk_memory, "_HARMLESS", 1 << 16)
    bomb, whole = imagecodecs.lzf_encode(bytes(1 << 22)), Box((0, 0, 0), SIDES)
    path = _hdf5(tmp_path / "a.h5", {"compression": "lzf"}, bomb)
    with pytest.raises(InputError, match="is more than 1572864 bytes"):
        open_volume(path).read(whole)
    voxels = np.random.default_rng(0).integers(0, 255, SIDES, np.uint8)
    path = _hdf5(tmp_path / "b.h5", {"compression": "lzf"}, voxels.tobytes(), mask=1)
    np.testing.assert_array_equal(open_volume(path).read(whole), voxels)
    path = _hdf5(tmp_path / "c.h5", {"compression": "lzf", "fletcher32": True}, bomb + bytes(4))
    with pytest.raises(InputError, match="is more than 1572864 bytes"):
        open_volume(path).read(whole)


def test_szip_of_hdf5_that_declares_4_gib(tmp_path: Path) -> None:
    if not h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
        pytest.skip("this h5py has no szip")
    bomb = (0xFFFFFFF0).to_bytes(4, "little") + bytes(100)
    path = _hdf5(tmp_path / "a.h5", {"compression": "szip"}, bomb)
    with pytest.raises(InputError, match="is more than 1572864 bytes"):
        open_volume(path).read(Box((0, 0, 0), SIDES))


def test_scale_offset_of_hdf5_that_declares_more(tmp_path: Path) -> None:
    """The numbers that the filter keeps in the metadata are written over: a chunk of 2^32 - 1 elements."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", SIDES, "u1", chunks=SIDES, scaleoffset=3)[...] = 5
    data, made = path.read_bytes(), (64**3).to_bytes(4, "little")
    with h5py.File(path) as file:
        values = file["raw"].id.get_create_plist().get_filter(0)[2]
    kept = b"".join(value.to_bytes(4, "little") for value in values)
    at = data.index(kept)
    changed = kept[:8] + b"\xff" * 4 + kept[12:]
    assert kept[8:12] == made
    path.write_bytes(data[:at] + changed + data[at + len(kept) :])
    with pytest.raises(InputError, match="is more than 1572864 bytes"):
        open_volume(str(path)).read(Box((0, 0, 0), SIDES))


@pytest.mark.parametrize("codec", ["zlib", "gzip", "bz2", "zstd"])
def test_streams_of_zarr_end_where_the_chunk_ends(tmp_path: Path, codec: str) -> None:
    """64 MiB in a few kB: TensorStore says at which byte it stopped."""
    encode = {"zlib": "zlib_encode", "gzip": "gzip_encode", "bz2": "bz2_encode"}
    data = getattr(imagecodecs, encode.get(codec, "zstd_encode"))(bytes(1 << 24))
    path = _zarr(tmp_path / "a.zarr", SIDES, SIDES, data)
    file = tmp_path / "a.zarr" / ".zarray"
    about = json.loads(file.read_text())
    about["compressor"] = {"id": codec} | ({} if codec == "zstd" else {"level": 1})
    file.write_text(json.dumps(about))
    with pytest.raises(InputError, match="at uncompressed byte 262144"):
        open_volume(path).read(Box((0, 0, 0), SIDES))
