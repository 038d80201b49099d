"""Chunks that TensorStore would decode as a whole, however large that is: their declared size is looked at first."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.read import bounded_chunks, sharded_chunks
from emjax.volumes.read.sharded_chunks import morton, murmurhash
from emjax.volumes.store import open_volume

SHAPE, CHUNK = (16, 16, 32), (8, 16, 16)
VOXELS = np.random.default_rng(0).integers(0, 255, SHAPE, dtype=np.uint8)
# A few bytes that become 64 MiB; what a chunk needs is 1 MiB and a little.
BLOSC = imagecodecs.blosc_encode(bytes(1 << 26), compressor="zstd", shuffle=0)
ZEROS = Box((0, 0, 0), CHUNK)
LAST = Box((8, 0, 16), CHUNK)
TOO_LARGE = "is more than 1052672 bytes when decompressed"


@pytest.fixture
def _little_memory(monkeypatch) -> None:
    monkeypatch.setattr(bounded_chunks, "free_memory_bytes", lambda: 1 << 30)


def _write(spec: dict, voxels: np.ndarray = VOXELS) -> None:
    ts.open(spec, create=True).result().write(voxels).result()


def _zarr2(path: Path) -> Path:
    about = {"shape": SHAPE, "chunks": CHUNK, "dtype": "|u1", "compressor": {"id": "blosc"}}
    _write({"driver": "zarr", "kvstore": f"file://{path}/", "metadata": about})
    return path / "0.0.0"


def _zarr3(path: Path) -> Path:
    grid = {"name": "regular", "configuration": {"chunk_shape": CHUNK}}
    about = {"shape": SHAPE, "data_type": "uint8", "chunk_grid": grid}
    about["codecs"] = [{"name": "blosc"}]
    about["dimension_names"] = ["z", "y", "x"]
    _write({"driver": "zarr3", "kvstore": f"file://{path}/", "metadata": about})
    return path / "c" / "0" / "0" / "0"


def _n5(path: Path) -> Path:
    about = {"dimensions": SHAPE[::-1], "blockSize": CHUNK[::-1], "dataType": "uint8"}
    about["compression"] = {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}
    _write({"driver": "n5", "kvstore": f"file://{path}/", "metadata": about}, VOXELS.T)
    return path / "0" / "0" / "0"


@pytest.mark.usefixtures("_little_memory")
@pytest.mark.parametrize("make", [_zarr2, _zarr3, _n5])
def test_blosc_that_declares_64_mib(tmp_path: Path, make) -> None:
    file = make(tmp_path / "a")
    whole = open_volume(f"{tmp_path}/a")
    np.testing.assert_array_equal(whole.read(Box((3, 1, 2), (13, 15, 29))), VOXELS[3:, 1:, 2:31])
    head = file.read_bytes()[:16] if make is _n5 else b""
    file.write_bytes(head + BLOSC)
    assert file.stat().st_size < 10_000
    volume = pickle.loads(pickle.dumps(open_volume(f"{tmp_path}/a")))
    with pytest.raises(InputError, match=TOO_LARGE):
        volume.read(ZEROS)
    np.testing.assert_array_equal(volume.read(LAST), VOXELS[8:, :, 16:])


@pytest.mark.usefixtures("_little_memory")
def test_blosc_inside_of_a_shard(tmp_path: Path) -> None:
    def write(codecs: list[dict], voxels: np.ndarray, side: int) -> None:
        inner = {"chunk_shape": [side] * 3, "codecs": [{"name": "bytes"}, *codecs]}
        grid = {"name": "regular", "configuration": {"chunk_shape": [2 * side, side, side]}}
        about = {"shape": voxels.shape, "data_type": "uint8", "chunk_grid": grid}
        about["codecs"] = [{"name": "sharding_indexed", "configuration": inner}]
        _write({"driver": "zarr3", "kvstore": f"file://{tmp_path}/a/", "metadata": about}, voxels)

    # A shard of large chunks, behind the metadata of small ones.
    write([{"name": "blosc"}, {"name": "crc32c"}], np.ones((256, 128, 128), np.uint8), 128)
    about = tmp_path / "a" / "zarr.json"
    about.write_text(about.read_text().replace("256", "16").replace("128", "8"))
    with pytest.raises(InputError, match=r"chunk 1\.0\.0 of .* is more than 1049600 bytes"):
        open_volume(f"{tmp_path}/a").read(Box((8, 0, 0), (8, 8, 8)))


def test_where_memory_suffices_blosc_is_read_as_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bounded_chunks, "free_memory_bytes", lambda: 1 << 50)
    _zarr2(tmp_path / "a").write_bytes(BLOSC)
    with pytest.raises(InputError, match="End of data expected"):
        open_volume(f"{tmp_path}/a").read(ZEROS)


@pytest.mark.usefixtures("_little_memory")
def test_damaged_and_absent_blosc_is_told_as_ever(tmp_path: Path) -> None:
    file = _zarr2(tmp_path / "a")
    file.write_bytes(file.read_bytes()[:6])
    with pytest.raises(InputError, match="damaged: restore it"):
        open_volume(f"{tmp_path}/a").read(ZEROS)
    file.unlink()
    assert not open_volume(f"{tmp_path}/a").read(ZEROS).any()
    with pytest.raises(InputError, match="missing=fill"):
        open_volume(f"{tmp_path}/a?missing=error").read(ZEROS)


def _precomputed(path: Path, **sharding: object) -> None:
    scale = {"key": "8", "size": SHAPE[::-1], "resolution": [8, 8, 8], "encoding": "raw"}
    kind = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity"}
    bits = {"preshift_bits": 2, "minishard_bits": 0, "shard_bits": 0}
    scale["sharding"] = kind | bits | sharding
    about = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{path}/"}
    about["multiscale_metadata"] = {"type": "image", "data_type": "uint8", "num_channels": 1}
    scale |= {"chunk_size": CHUNK[::-1], "voxel_offset": [4, 0, 0]}
    _write(about | {"scale_metadata": scale}, VOXELS.T[..., None])


@pytest.mark.parametrize("kind", ["identity", "murmurhash3_x86_128"])
def test_gzip_in_shards(tmp_path: Path, monkeypatch, kind: str) -> None:
    """Also that the chunk is found among others, by both hashes."""
    monkeypatch.setattr(sharded_chunks, "_HARMLESS", 0)
    bits = {"preshift_bits": 0, "minishard_bits": 1, "shard_bits": 1}
    path = tmp_path / "a"
    _precomputed(path, hash=kind, **bits, data_encoding="gzip", minishard_index_encoding="raw")
    volume = open_volume(str(path))
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), SHAPE)), VOXELS)
    found = sharded_chunks.find_sharded(
        f"file://{path}/", json.loads((path / "info").read_text())["scales"][0], 1 << 20
    )
    assert found is not None
    for index in np.ndindex(2, 1, 2):
        number = morton(index, found.grid)
        place = murmurhash(number) if found.hashed else number
        file = path / "8" / f"{place >> 1 & 1}.shard"
        chunks = sharded_chunks._chunks(str(file), 0, place & 1, 1, False)
        x, _, z = (i * side for i, side in zip(index, CHUNK[::-1], strict=True))
        part = gzip.decompress(sharded_chunks._part(str(file), *chunks[number]))
        assert part == VOXELS[z : z + 8, :, x : x + 16].tobytes()
        assert found((*index, 0)) == (f"chunk {'_'.join(map(str, index))} in {file}", False)
    tight = sharded_chunks.dataclasses.replace(found, most=2047)
    assert tight((1, 0, 1, 0))[1]


def test_a_bomb_in_a_shard(tmp_path: Path, monkeypatch) -> None:
    """Its index says where 64 kB begin that become 64 MiB."""
    monkeypatch.setattr(sharded_chunks, "_HARMLESS", 1 << 25)
    _precomputed(tmp_path / "a", data_encoding="gzip")
    file = tmp_path / "a" / "8" / "0.shard"
    bomb = gzip.compress(bytes(1 << 26))
    index = np.array([[0], [0], [len(bomb)]], "<u8").tobytes()
    file.write_bytes(np.array([len(bomb), len(bomb) + 24], "<u8").tobytes() + bomb + index)
    with pytest.raises(InputError, match=f"chunk 0_0_0 in .*{TOO_LARGE}"):
        open_volume(f"{tmp_path}/a").read(ZEROS)


def test_a_bomb_in_the_index_of_a_shard(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sharded_chunks, "_HARMLESS", 1 << 20)
    _precomputed(tmp_path / "a", minishard_index_encoding="gzip")
    bomb = gzip.compress(bytes(1 << 22))
    place = np.array([0, len(bomb)], "<u8").tobytes()
    (tmp_path / "a" / "8" / "0.shard").write_bytes(place + bomb)
    with pytest.raises(InputError, match="has an index that is more than 1048576 bytes"):
        open_volume(f"{tmp_path}/a").read(ZEROS)
