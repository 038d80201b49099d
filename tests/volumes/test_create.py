"""Outputs as other programs and emjax itself read them, and what is never deleted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import zarr

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume, delete_volume, open_created, volume_exists
from emjax.volumes.store import open_volume
from emjax.volumes.write.pyramid import chunk_size, shard_size

_EMJAX = {"targets": ["affinity", "foreground"], "offsets": [[-1, 0, 0], None], "scale": 1 / 255}


def _voxels(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((2, 20, 30, 50), "uint8"),
        ((1, 5, 6, 7), "float16"),
        ((20, 30, 50), "uint64"),
        ((4, 4, 4), "bool"),
    ],
)
def test_zarr_python_and_emjax_read_it(tmp_path: Path, shape, dtype) -> None:
    path, voxels = tmp_path / "out.zarr", _voxels(shape, dtype)
    store = create_volume(path, shape, dtype, (40, 4, 4), _EMJAX)
    assert not store.read().result().any()
    store.write(voxels).result()

    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["0"][:], voxels)
    assert group["0"].metadata.dimension_names == ("c", "z", "y", "x")[-len(shape) :]
    assert group.attrs["ome"]["version"] == "0.5"

    volume = open_volume(str(path))
    assert volume.voxel_nm == (40, 4, 4)
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), volume.size)), np.squeeze(voxels))
    assert read_attributes(f"{path}[0:2]?voxel_nm=1,1,1") == _EMJAX
    assert read_attributes(f"{path}:0") == _EMJAX
    assert read_attributes(f"{path}/0") == _EMJAX


def test_axes_and_scale_as_the_specification_has_them(tmp_path: Path) -> None:
    create_volume(tmp_path / "a.zarr", (3, 8, 8, 8), "uint8", (40, 4, 4), {}, origin=(2, 0, 10))
    image = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    (scales,) = image["multiscales"]
    assert scales["axes"] == [{"name": "c", "type": "channel"}] + [
        {"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"
    ]
    assert scales["datasets"] == [
        {
            "path": "0",
            "coordinateTransformations": [
                {"type": "scale", "scale": [1, 40, 4, 4]},
                {"type": "translation", "translation": [0, 80, 0, 40]},
            ],
        }
    ]


def test_a_corrupt_chunk_is_noticed(tmp_path: Path) -> None:
    store = create_volume(tmp_path / "a.zarr", (16, 16, 16), "uint8", None, {})
    store.write(_voxels((16, 16, 16), "uint8")).result()
    (file,) = (p for p in (tmp_path / "a.zarr" / "0" / "c").rglob("*") if p.is_file())
    damaged = bytearray(file.read_bytes())
    damaged[100] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match="(?i)crc|checksum|digest"):
        open_created(tmp_path / "a.zarr").read().result()


def test_every_shard_is_one_file_with_checked_chunks(tmp_path: Path) -> None:
    store = create_volume(
        tmp_path / "a.zarr", (2, 20, 20, 20), "uint8", None, {}, chunk=(5, 5, 5), shard=(10, 20, 20)
    )
    assert store.chunk_layout.write_chunk.shape == (2, 10, 20, 20)
    assert store.chunk_layout.read_chunk.shape == (1, 5, 5, 5)
    store.write(_voxels((2, 20, 20, 20), "uint8")).result()
    assert len([p for p in (tmp_path / "a.zarr" / "0" / "c").rglob("*") if p.is_file()]) == 2
    (sharding,) = json.loads((tmp_path / "a.zarr/0/zarr.json").read_text())["codecs"]
    for codecs in ("codecs", "index_codecs"):
        assert sharding["configuration"][codecs][-1]["name"] == "crc32c"


def test_unknown_voxel_size_stays_unknown(tmp_path: Path) -> None:
    create_volume(tmp_path / "a.zarr", (8, 8, 8), "uint8", None, {})
    assert open_volume(str(tmp_path / "a.zarr")).voxel_nm is None


@pytest.mark.parametrize(
    ("voxel_nm", "chunk"),
    [
        (None, (64, 64, 64)),
        ((8, 8, 8), (64, 64, 64)),
        ((50, 4, 4), (16, 128, 128)),
        ((30, 6, 6), (16, 128, 128)),
    ],
)
def test_chunks_are_about_isotropic(voxel_nm, chunk) -> None:
    assert chunk_size((1000, 1000, 1000), voxel_nm) == chunk
    assert 64**3 / 2 <= math.prod(chunk) <= 64**3 * 2


def test_chunks_and_shards_are_not_longer_than_the_volume_needs() -> None:
    assert chunk_size((5, 100, 1000), (40, 4, 4)) == (5, 100, 128)
    assert shard_size((5, 100, 1000), (5, 100, 128)) == (5, 100, 512)
    assert shard_size((33, 33, 33), (16, 16, 16)) == (48, 48, 48)


def test_what_is_there_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    create_volume(path, (8, 8, 8), "uint8", None, {"targets": ["old"]}).write(1).result()
    with pytest.raises(InputError, match="overwrite=true"):
        create_volume(path, (8, 8, 8), "uint8", None, {})
    assert read_attributes(str(path)) == {"targets": ["old"]}
    store = create_volume(path, (8, 8, 8), "uint8", None, {}, overwrite=True)
    assert not store.read().result().any()
    assert read_attributes(str(path)) == {}
    delete_volume(path)
    assert not volume_exists(path)


def test_nothing_but_zarr_is_ever_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "file.zarr").write_text("")
    for name in ("thesis", "file.zarr"):
        with pytest.raises(InputError, match="no zarr volume"):
            create_volume(tmp_path / name, (8, 8, 8), "uint8", None, {}, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("options", "helps"),
    [
        ({"shape": (8, 8)}, "needs z, y, x"),
        ({"shape": (8, 0, 8)}, "1 or more"),
        ({"dtype": "complex64"}, "cannot be of complex64"),
        ({"chunk": (4, 4, 4), "shard": (4, 6, 4)}, "no multiple of the chunks"),
    ],
)
def test_mistakes(tmp_path: Path, options, helps) -> None:
    settings = {"shape": (8, 8, 8), "dtype": "uint8", **options}
    with pytest.raises(InputError, match=helps):
        create_volume(tmp_path / "a.zarr", voxel_nm=None, attributes={}, **settings)
    assert not (tmp_path / "a.zarr").exists()


def test_attributes_of_other_volumes_are_empty(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "plain.zarr", data=np.zeros((4, 4, 4), np.uint8))
    assert read_attributes(f"{tmp_path}/plain.zarr") == {}
    assert read_attributes(f"{tmp_path}/stack.tif") == {}
    assert read_attributes("synthetic://neurites?shape=8,8,8") == {}
