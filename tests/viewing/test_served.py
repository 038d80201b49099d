"""Voxels as the page asks for them: the level of a pyramid that has them, fractions of a voxel, types it can draw."""

from __future__ import annotations

import dataclasses
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
from neuroglancer.local_volume import MeshesNotSupportedForVolume

from emjax.viewing import served
from emjax.viewing.layers import Layer, open_layers
from emjax.viewing.levels import find_levels
from emjax.viewing.served import ServedVolume
from emjax.volumes.create import create_volume, open_created
from emjax.volumes.store import open_volume
from emjax.volumes.write.pyramid import plan_levels

SIZE, VOXEL_NM, ORIGIN = (10, 77, 90), (8.0, 4.0, 4.0), (6, 10, 20)


def _pyramid(path: Path, dtype: type = np.uint16, **fields: object) -> list[np.ndarray]:
    """Writes levels that are not made of each other, so that it is seen which one was read."""
    levels = plan_levels(SIZE, VOXEL_NM, count=4)
    create_volume(path, SIZE, dtype, VOXEL_NM, {}, origin=ORIGIN, coarser=levels[1:])
    arrays = []
    for number, level in enumerate(levels):
        index = np.arange(np.prod(level.size)).reshape(level.size) % 97
        arrays.append((1000 * number + index).astype(dtype))
        open_created(path, number).write(arrays[-1]).result()
    assert [level.factor for level in levels] == [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)]
    return arrays


def _ask(volume: ServedVolume, scale: tuple, start: tuple, stop: tuple) -> np.ndarray:
    data, _ = volume.get_encoded_subvolume(
        "npz", np.asarray(start), np.asarray(stop), ",".join(map(str, scale))
    )
    return np.load(io.BytesIO(zlib.decompress(data)))


def _serve(address: str) -> ServedVolume:
    (layer,) = open_layers(address)
    return ServedVolume(layer, "nm")


def test_each_scale_is_read_from_its_level(tmp_path):
    arrays = _pyramid(tmp_path / "a.zarr")
    volume = _serve(f"{tmp_path}/a.zarr")
    for array, scale in zip(arrays, [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)], strict=True):
        whole = _ask(volume, scale, (0, 0, 0), array.shape)
        assert np.array_equal(whole, array)
        part = _ask(volume, scale, (1, 3, 4), (2, 7, 9))
        assert np.array_equal(part, array[1:2, 3:7, 4:9])
    # What is no level is made of the next finer one: means of four voxels of level 1.
    four = _ask(volume, (1, 4, 4), (0, 0, 0), (10, 5, 5)).astype(float)
    means = arrays[1][:, :10, :10].reshape(10, 5, 2, 5, 2).mean((2, 4))
    assert np.abs(four - means).max() < 1


def test_page_may_ask_for_what_needs_little_reading():
    size, factors = (40000, 80000, 80000), [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)]
    # 64 voxels of a file for one: at full resolution, or at the coarsest level.
    assert served._coarsest_scale(size, VOXEL_NM, factors[:1]) == (2, 4, 4)
    assert served._coarsest_scale(size, VOXEL_NM, factors) == (16, 32, 32)
    # A level that no scale is made of does not help.
    assert served._coarsest_scale(size, VOXEL_NM, [(1, 1, 1), (3, 3, 3)]) == (2, 4, 4)
    assert served._coarsest_scale((9, 90, 90), VOXEL_NM, factors) == (1, 1, 1)


def test_part_of_a_pyramid_has_the_levels_that_it_fits_into(tmp_path):
    arrays = _pyramid(tmp_path / "a.zarr")
    volume = _serve(f"{tmp_path}/a.zarr[4:9,24:60,16:90]")
    assert list(volume.voxel_offset) == [10, 34, 36] and list(volume.shape) == [5, 36, 74]
    whole = _ask(volume, (2, 4, 4), (0, 0, 0), (3, 9, 19))
    assert np.array_equal(whole, arrays[2][2:5, 6:15, 4:23])
    odd = open_layers(f"{tmp_path}/a.zarr[:,2:70,:]")[0].volume
    assert [level.factor for level in find_levels(odd)] == [(1, 1, 1), (1, 2, 2)]


def test_coarse_level_lies_at_a_fraction_of_its_voxels(tmp_path):
    _pyramid(tmp_path / "a.zarr")
    volume = _serve(f"{tmp_path}/a.zarr?level=2")
    assert list(volume.voxel_offset) == [3, 2.5, 5]
    assert list(volume.dimensions.scales) == pytest.approx([16e-9] * 3)
    assert [level.factor for level in find_levels(open_volume(f"{tmp_path}/a.zarr?level=2"))] == [
        (1, 1, 1),
        (2, 2, 2),
    ]


@pytest.mark.parametrize(
    ("dtype", "kind", "served_as"),
    [
        ("int64", "labels", "uint64"),
        ("uint64", "labels", "uint64"),
        ("bool", "labels", "uint8"),
        ("float16", "image", "float32"),
        ("float64", "image", "float32"),
        ("uint64", "image", "float32"),
        ("int16", "image", "int16"),
    ],
)
def test_types_that_a_page_cannot_draw_are_cast(tmp_path, dtype, kind, served_as):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    create_volume(tmp_path / "a.zarr", (2, 3, 4), dtype, VOXEL_NM, {}).write(values).result()
    volume = _serve(f"{tmp_path}/a.zarr?kind={kind}")
    assert volume.info()["dataType"] == served_as
    assert volume.info()["volumeType"] == ("segmentation" if kind == "labels" else "image")
    found = _ask(volume, (1, 1, 1), (0, 0, 0), (2, 3, 4))
    assert found.dtype == served_as and np.array_equal(found, values.astype(served_as))


def test_only_what_is_asked_for_is_read(tmp_path):
    create_volume(tmp_path / "a.zarr", SIZE, np.uint32, VOXEL_NM, {})
    (layer,) = open_layers(f"{tmp_path}/a.zarr")
    # Nothing of this volume can be read in one piece.
    size = (1 << 20, 1 << 20, 1 << 20)
    huge = dataclasses.replace(layer.volume, store=_endless(size))
    volume = ServedVolume(Layer("huge", "labels", huge, (0, 0, 0), VOXEL_NM), "nm")
    far = (1000, 1 << 19, 77)
    assert np.array_equal(
        _ask(volume, (1, 1, 1), far, tuple(f + 2 for f in far)).ravel()[:1], [sum(far) % 251]
    )
    # No pyramid: it is drawn with 64 voxels as one at the coarsest.
    assert (volume.max_downsampling, volume.coarsest_nm) == (32, 16)
    with pytest.raises(MeshesNotSupportedForVolume):
        volume.get_object_mesh(1)


def test_what_cannot_be_read_is_said_once(tmp_path, caplog):
    _pyramid(tmp_path / "a.zarr")
    volume = _serve(f"{tmp_path}/a.zarr?kind=labels&missing=error")
    for path in (tmp_path / "a.zarr" / "0").rglob("*"):
        if path.is_file() and path.name != "zarr.json":
            path.write_bytes(b"cut")
    for _ in range(3):
        with pytest.raises(ValueError, match="DATA_LOSS|FAILED_PRECONDITION|shard"):
            _ask(volume, (1, 1, 1), (9, 76, 89), (10, 77, 90))
    assert len([r for r in caplog.records if "a.zarr: a part cannot be read" in r.message]) == 1


def _endless(size: tuple[int, int, int]):
    def read(domain, out, _):
        grids = np.meshgrid(
            *(
                np.arange(a, b)
                for a, b in zip(domain.inclusive_min, domain.exclusive_max, strict=True)
            ),
            indexing="ij",
        )
        out[...] = sum(grids) % 251

    return ts.virtual_chunked(
        read,
        dtype=ts.uint32,
        domain=ts.IndexDomain(shape=size),
        chunk_layout=ts.ChunkLayout(read_chunk_shape=(2, 2, 2)),
    )
