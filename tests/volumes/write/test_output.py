"""All formats that are written, alike: made, opened, remembered, replaced; and their names."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts
import zarr
from ome_zarr_models.v05 import Image

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.formats import check_zarr_name, parse_output
from emjax.volumes.store import open_volume
from emjax.volumes.write.hdf5 import Hdf5Output
from emjax.volumes.write.output import NewVolume, Output
from emjax.volumes.write.precomputed import PrecomputedOutput
from emjax.volumes.write.pyramid import plan_levels
from emjax.volumes.write.zarr import ZarrOutput

SIZE = (9, 30, 40)
FORMATS = {
    "zarr": lambda folder: ZarrOutput(f"{folder}/a.zarr"),
    "precomputed": lambda folder: PrecomputedOutput(f"{folder}/a.precomputed"),
    "hdf5": lambda folder: Hdf5Output(f"{folder}/a.h5", "volumes/raw"),
}


def _new(output: Output, dtype: str = "uint8", channels: int = 0, **fields) -> NewVolume:
    levels = plan_levels(
        SIZE, (40, 4, 4), chunk=(4, 8, 8), shard=(8, 16, 16), count=output.most_levels or 3
    )
    values = {
        "channels": channels,
        "dtype": dtype,
        "kind": "labels" if dtype == "uint64" else "image",
        "voxel_nm": (40.0, 4.0, 4.0),
        "origin": (4, 8, 0),
        "levels": levels,
        "downscaling": "mean",
        "attributes": {"identity": "abc"},
    }
    return NewVolume(**values | fields)


def _address(output: Output) -> str:
    return output.path + (f":{output.dataset}" if isinstance(output, Hdf5Output) else "")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 0), ("uint64", 0), ("float32", 2)])
def test_written_and_read_again(tmp_path: Path, name, dtype, channels) -> None:
    output = pickle.loads(pickle.dumps(FORMATS[name](tmp_path)))
    new = _new(output, dtype, channels)
    output.check_free(overwrite=False)
    assert not output.exists() and output.attributes() == {}
    output.check(new)
    output.create(new)
    assert output.exists() and not output.is_half_made()
    assert output.attributes() == {"identity": "abc"}
    for level in range(len(new.levels)):
        store = output.open(level)
        voxels = np.random.default_rng(level).integers(0, 2**24, new.shape(level)).astype(dtype)
        assert store.shape == new.shape(level) and store.dtype.numpy_dtype == dtype
        assert store.domain.inclusive_min == (0,) * len(store.shape)
        store[..., 8:, :, :].write(voxels[..., 8:, :, :]).result()
        store[..., :8, :, :].write(voxels[..., :8, :, :]).result()
        np.testing.assert_array_equal(output.open(level).read().result(), voxels)
        if not level:
            whole = voxels
    output.finish()
    volume = open_volume(_address(output))
    assert volume.voxel_nm == (40, 4, 4) and volume.dtype == dtype
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), SIZE)), whole)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_there_is_kept_unless_told(tmp_path: Path, name) -> None:
    output = FORMATS[name](tmp_path)
    output.create(_new(output))
    with pytest.raises(InputError, match="overwrite=true"):
        output.check_free(overwrite=False)
    output.check_free(overwrite=True)
    output.delete()
    assert not output.exists()
    output.check_free(overwrite=False)


@pytest.mark.parametrize("name", FORMATS)
def test_what_emjax_would_not_write_is_never_deleted(tmp_path: Path, name) -> None:
    output = FORMATS[name](tmp_path)
    if name == "hdf5":
        Path(output.path).write_text("years of work")
    else:
        Path(output.path).mkdir()
        (Path(output.path) / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="exists and is no"):
        output.check_free(overwrite=True)


def test_meshes_beside_scales_stay(tmp_path: Path) -> None:
    output = FORMATS["precomputed"](tmp_path)
    output.create(_new(output))
    output.open(0)[:8].write(1).result()
    (tmp_path / "a.precomputed" / "mesh").mkdir()
    (tmp_path / "a.precomputed" / "mesh" / "1:0").write_text("")
    output.delete()
    files = [p.name for p in (tmp_path / "a.precomputed").rglob("*") if p.is_file()]
    assert files == ["1:0"]


def test_other_datasets_of_a_file_stay(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["labels"] = np.zeros(3)
    with pytest.raises(InputError, match="other datasets, which would be deleted: labels"):
        FORMATS["hdf5"](tmp_path).check_free(overwrite=True)


def test_the_pyramid_is_valid_ome_zarr_with_exact_places(tmp_path: Path) -> None:
    output = FORMATS["zarr"](tmp_path)
    output.create(_new(output, channels=2))
    image = Image.from_zarr(zarr.open_group(output.path, mode="r"))
    (scales,) = image.ome_attributes.multiscales
    assert scales.type == "mean"
    places = [
        [t.model_dump()[t.type] for t in dataset.coordinateTransformations]
        for dataset in scales.datasets
    ]
    # The origin is z 4, y 8, x 0; a pooled voxel's centre lies between those that it was made of.
    assert places == [
        [[1, 40, 4, 4], [0, 160, 32, 0]],
        [[1, 40, 8, 8], [0, 160, 34, 2]],
        [[1, 40, 16, 16], [0, 160, 38, 6]],
    ]


def test_precomputed_says_type_encoding_and_place_of_each_scale(tmp_path: Path) -> None:
    output = FORMATS["precomputed"](tmp_path)
    output.create(_new(output, "uint64", origin=(4, 8, 16)))
    info = json.loads((tmp_path / "a.precomputed" / "info").read_text())
    assert info["type"] == "segmentation" and info["num_channels"] == 1
    assert {scale["encoding"] for scale in info["scales"]} == {"compressed_segmentation"}
    assert [scale["resolution"] for scale in info["scales"]] == [
        [4, 4, 40],
        [8, 8, 40],
        [16, 16, 40],
    ]
    assert [scale["voxel_offset"] for scale in info["scales"]] == [[16, 8, 4], [8, 4, 4], [4, 2, 4]]
    # Shards of 2 x 2 x 2 chunks are boxes, hence blocks that share none.
    store = ts.open({"driver": "neuroglancer_precomputed", "kvstore": f"file://{output.path}/"})
    assert store.result().chunk_layout.write_chunk.shape == (16, 16, 8, 1)


def test_every_shard_of_precomputed_is_one_box(tmp_path: Path) -> None:
    for number, (size, count) in enumerate([((3, 100, 17), 2), ((40, 8, 33), 4), ((5, 6, 7), 1)]):
        levels = plan_levels(size, (8, 8, 8), chunk=(4, 4, 4), shard=(4 * count,) * 3, count=1)
        output = PrecomputedOutput(f"{tmp_path}/{number}")
        new = dataclasses.replace(_new(output), levels=levels, voxel_nm=(8.0, 8.0, 8.0))
        output.create(new)
        store = output.open()
        for corner in np.ndindex(*(-(-n // (4 * count)) for n in size)):
            box = tuple(slice(c * 4 * count, (c + 1) * 4 * count) for c in corner)
            box = tuple(slice(b.start, min(b.stop, n)) for b, n in zip(box, size, strict=True))
            store[box].write(1).result()
        files = [p for p in Path(output.path).rglob("*.shard")]
        assert len(files) == len(list(np.ndindex(*(-(-n // (4 * count)) for n in size))))


@pytest.mark.parametrize(
    ("fields", "helps"),
    [({"voxel_nm": None}, "voxel_nm=Z,Y,X"), ({"shard": (8, 8, 8)}, "same number along each axis")],
)
def test_what_precomputed_cannot_hold(tmp_path: Path, fields, helps) -> None:
    output = FORMATS["precomputed"](tmp_path)
    new = _new(output)
    if shard := fields.pop("shard", None):
        fields = {"levels": (new.levels[0]._replace(shard=shard),)}
    with pytest.raises(InputError, match=helps):
        output.check(dataclasses.replace(new, **fields))


def test_precomputed_types() -> None:
    output = PrecomputedOutput("a")
    assert output.suit(np.dtype("uint16"), "labels") == "uint32"
    assert output.suit(np.dtype("uint16"), "image") == "uint16"
    with pytest.raises(
        InputError, match="cannot hold labels of int64; set dtype to one of uint32, uint64"
    ):
        output.suit(np.dtype("int64"), "labels")
    with pytest.raises(InputError, match="cannot hold image of float64"):
        output.suit(np.dtype("float64"), "image")


def test_an_unfinished_hdf5_has_another_name(tmp_path: Path) -> None:
    output = FORMATS["hdf5"](tmp_path)
    output.create(_new(output))
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5.partial"]
    output.finish()
    output.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    with h5py.File(output.path) as file:
        assert file["volumes/raw"].chunks == (4, 8, 8)
        np.testing.assert_array_equal(file["volumes/raw"].attrs["resolution"], (40, 4, 4))
        np.testing.assert_array_equal(file["volumes/raw"].attrs["offset"], (160, 32, 0))


def test_hdf5_asks_for_room(tmp_path: Path) -> None:
    output = FORMATS["hdf5"](tmp_path)
    levels = plan_levels((1 << 20, 1 << 20, 1 << 20), None, count=1)
    with pytest.raises(InputError, match=r"needs 1.07e\+09 GiB, but .* free"):
        output.check(dataclasses.replace(_new(output), levels=levels))


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("a/b.zarr", ZarrOutput("a/b.zarr")),
        ("b.ome.ZARR/", ZarrOutput("b.ome.ZARR")),
        ("gs://bucket/b.zarr", ZarrOutput("gs://bucket/b.zarr")),
        ("b.precomputed", PrecomputedOutput("b.precomputed")),
        ("precomputed://gs://bucket/b", PrecomputedOutput("gs://bucket/b")),
        ("precomputed://folder/b", PrecomputedOutput("folder/b")),
        ("b.h5", Hdf5Output("b.h5", "main")),
        ("b.hdf:volumes/raw", Hdf5Output("b.hdf", "volumes/raw")),
    ],
)
def test_names(text, output) -> None:
    assert parse_output(text) == output


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        ("out.gif", "the name must say the format: NAME.zarr"),
        ("folder.zarr/out", "the name must say the format"),
        ("a.zarr:raw", "only HDF5 has datasets"),
        ("a.zarr[0:3]", "no box or keys behind it; give a.zarr"),
        ("a.h5:raw?voxel_nm=1,1,1", "give a.h5:raw"),
        ("gs://bucket/a.h5", "written to a disk"),
    ],
)
def test_names_that_mean_nothing(text, helps) -> None:
    with pytest.raises(InputError, match=helps):
        parse_output(text)


@pytest.mark.parametrize("text", ["out.zarr", "out", "a.h5/out", "gs://bucket/out.ZARR", "v1.2/p"])
def test_names_of_what_is_always_ome_zarr(text) -> None:
    check_zarr_name(text)


@pytest.mark.parametrize(
    "text",
    ["out.h5", "out.h5:main", "out.TIF", "out.precomputed/", "precomputed://gs://bucket/out.zarr"],
)
def test_ome_zarr_under_the_name_of_another_format(text) -> None:
    with pytest.raises(InputError, match=r"writes OME-Zarr; give output=NAME.zarr.*convert"):
        check_zarr_name(text)
