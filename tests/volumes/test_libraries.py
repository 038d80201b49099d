"""What docs/volumes.md says of formats, tried on files as the library of each format writes them."""

from __future__ import annotations

import gzip
import inspect
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts
import tifffile
import zarr

from emjax.errors import InputError
from emjax.volumes.origin import known_origin
from emjax.volumes.store import open_volume

VOXELS = np.random.default_rng(0).integers(1, 255, (6, 20, 30), np.uint8)
NM = (40.0, 8.0, 4.0)


def _check(address: str, voxel_nm: tuple | None = NM, origin: tuple | None = None) -> None:
    for key in ("", "?missing=error"):
        volume = open_volume(address + key if "?" not in address else address)
        np.testing.assert_array_equal(volume.store.read().result(), VOXELS)
        assert volume.voxel_nm == (pytest.approx(voxel_nm) if voxel_nm else None)
        assert known_origin(volume) == origin


def test_zarr_python_of_both_versions(tmp_path: Path) -> None:
    for version in (2, 3):
        group = zarr.open_group(tmp_path / f"{version}.zarr", mode="w", zarr_format=version)
        array = group.create_array("volumes/raw", data=VOXELS, chunks=(4, 8, 8))
        array.attrs.update({"resolution": [40, 8, 4], "offset": [80, 0, 40]})
        _check(f"{tmp_path}/{version}.zarr:volumes/raw", origin=(2, 0, 10))


def test_nested_chunks_of_zarr_python_2_without_a_separator(tmp_path: Path) -> None:
    """As the nested store of zarr-python before 2.8 left them."""
    zarr.create_array(
        tmp_path / "a",
        data=VOXELS,
        chunks=(4, 8, 8),
        zarr_format=2,
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    path = tmp_path / "a" / ".zarray"
    metadata = json.loads(path.read_text())
    assert metadata.pop("dimension_separator") == "/"
    path.write_text(json.dumps(metadata))
    _check(f"{tmp_path}/a", None)


@pytest.mark.parametrize("names", [["X", "Y", "Z"], ["Z", "Y", "X"], ["y", "z", "x"]])
def test_named_axes_of_zarr(tmp_path: Path, names: list[str]) -> None:
    order = ["zyx".index(name.lower()) for name in names]
    turned = np.ascontiguousarray(VOXELS.transpose(order))
    third = zarr.create_array(tmp_path / "3", data=turned, chunks=(4, 4, 4), dimension_names=names)
    second = zarr.create_array(tmp_path / "2", data=turned, chunks=(4, 4, 4), zarr_format=2)
    second.attrs["_ARRAY_DIMENSIONS"] = names
    funlib = zarr.create_array(tmp_path / "f", data=turned[None], chunks=(1, 4, 4, 4))
    funlib.attrs["axis_names"] = ["c^", *names]
    for array in (third, second, funlib):
        array.attrs["voxel_size"] = [NM[i] for i in order]
        array.attrs["offset"] = [(40, 16, 0)[i] for i in order]
    for name in ("3", "2", "f"):
        _check(f"{tmp_path}/{name}", origin=(1, 2, 0))


def test_axes_that_cannot_be_understood_are_named(tmp_path: Path) -> None:
    for name, names in (("a", ["t", "y", "x"]), ("b", ["x", "y", "y"]), ("c", ["i", "j", "k"])):
        array = zarr.create_array(tmp_path / name, data=VOXELS, chunks=(4, 4, 4), zarr_format=2)
        array.attrs["_ARRAY_DIMENSIONS"] = names
        listed = f"{names[0]} of 6, {names[1]} of 20, {names[2]} of 30"
        with pytest.raises(InputError, match=f"has the axes {listed}; a volume needs z, y and x"):
            open_volume(f"{tmp_path}/{name}")
    times = zarr.create_array(
        tmp_path / "t",
        data=np.stack([VOXELS, VOXELS]),
        chunks=(1, 4, 4, 4),
        dimension_names=["t", "z", "y", "x"],
    )
    assert times.shape[0] == 2
    with pytest.raises(InputError, match="axes t of 2, z of 6, .*one time"):
        open_volume(f"{tmp_path}/t")
    # Placeholders name nothing.
    zarr.create_array(
        tmp_path / "d", data=VOXELS, chunks=(4, 4, 4), dimension_names=["dim_0", "dim_1", "dim_2"]
    )
    _check(f"{tmp_path}/d", None)


def test_ome_zarr_with_channel_and_time_of_length_1(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a", mode="w", zarr_format=2)
    group.create_array("0", data=VOXELS[:, None, None], chunks=(4, 1, 1, 8, 8))
    axes = [
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "c", "type": "channel"},
        {"name": "t", "type": "time", "unit": "second"},
        *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx"),
    ]
    steps = [
        {"type": "scale", "scale": [0.04, 1, 1, 0.008, 0.004]},
        {"type": "translation", "translation": [0.08, 0, 0, 0, 0.02]},
    ]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    _check(f"{tmp_path}/a", origin=(2, 0, 5))


def test_ome_zarr_itself(tmp_path: Path) -> None:
    writer = pytest.importorskip("ome_zarr.writer", reason="ome-zarr is not installed")
    formats = pytest.importorskip("ome_zarr.format")
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    steps = [
        {"type": "scale", "scale": list(NM)},
        {"type": "translation", "translation": [80.0, 0.0, 20.0]},
    ]
    units = {}
    # Newer versions take units as an argument, and drop those of the axes.
    if "axes_units" in inspect.signature(writer.write_multiscale).parameters:
        units["axes_units"] = dict.fromkeys("zyx", "nanometer")
    for form in (formats.FormatV04(), formats.FormatV05()):
        group = zarr.open_group(tmp_path / form.version, mode="w", zarr_format=form.zarr_format)
        writer.write_multiscale(
            [VOXELS], group, fmt=form, axes=axes, coordinate_transformations=[steps], **units
        )
        _check(f"{tmp_path}/{form.version}", origin=(2, 0, 5))


def _write_n5(path: Path, voxels: np.ndarray, **attributes: object) -> None:
    metadata = {
        **{"dataType": "uint8", "dimensions": voxels.shape[::-1], "blockSize": [8, 8, 4]},
        **{"compression": {"type": "gzip"}},
    }
    spec = {"driver": "n5", "kvstore": f"file://{path}/", "metadata": metadata}
    ts.open(spec, create=True).result().write(voxels.T).result()
    file = path / "attributes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **attributes}))


def test_n5_of_tensorstore_and_its_levels(tmp_path: Path) -> None:
    _write_n5(tmp_path / "plain", VOXELS, resolution=[4, 8, 40], offset=[40, 0, 80])
    _check(f"{tmp_path}/plain", origin=(2, 0, 10))
    pixel = {"pixelResolution": {"dimensions": [4, 8, 40], "unit": "nm"}}
    # N5 Viewer: size and factors with the group; BigDataViewer: factors with the view above it; both with the level.
    groups = {
        "viewer": ({**pixel, "scales": [[1, 1, 1], [2, 2, 1]]}, {}),
        "bdv/timepoint0": ({"resolution": [4, 8, 40], "multiScale": True}, {}),
        "both": ({}, {**pixel, "downsamplingFactors": [2, 2, 1]}),
        "own": (pixel, {"pixelResolution": {"dimensions": [8, 16, 40], "unit": "nm"}}),
    }
    for name, (group, level) in groups.items():
        _write_n5(tmp_path / name / "s0", VOXELS, **(pixel if name == "both" else {}))
        _write_n5(tmp_path / name / "s1", VOXELS[:, ::2, ::2], **level)
        (tmp_path / name / "attributes.json").write_text(json.dumps(group))
    (tmp_path / "bdv" / "attributes.json").write_text(
        json.dumps({"downsamplingFactors": [[1, 1, 1], [2, 2, 1]]})
    )
    for name in groups:
        assert open_volume(f"{tmp_path}/{name}").voxel_nm == NM, name
        for address in (f"{tmp_path}/{name}?level=1", f"{tmp_path}/{name}/s1"):
            assert open_volume(address).voxel_nm == (40, 16, 8), address
    # Where nothing says how coarse a level is, its size is unknown, not that of full resolution.
    (tmp_path / "viewer" / "attributes.json").write_text(json.dumps(pixel))
    assert open_volume(f"{tmp_path}/viewer?level=1").voxel_nm is None


def _write_precomputed(path: Path, encoding: str, dtype: str) -> None:
    blocks = {"compressed_segmentation_block_size": [8, 8, 8]}
    scale = {
        **{"size": VOXELS.shape[::-1], "resolution": [4, 8, 40], "encoding": encoding},
        **{"chunk_size": [8, 8, 4], "voxel_offset": [100, -20, 3]},
        **(blocks if encoding == "compressed_segmentation" else {}),
    }
    about = {"type": "image", "data_type": dtype, "num_channels": 1}
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": f"file://{path}/",
        "multiscale_metadata": about,
        "scale_metadata": scale,
    }
    ts.open(spec, create=True).result().write(VOXELS.T[..., None].astype(dtype)).result()


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [("raw", "uint8"), ("png", "uint8"), ("compressed_segmentation", "uint64")],
)
@pytest.mark.parametrize("ending", [".gz", ".br", ".zstd"])
def test_the_files_of_cloudvolume_on_a_disk(tmp_path, encoding, dtype, ending) -> None:
    """It appends how it compressed a chunk to its name; some are left as they were."""
    import imagecodecs

    compress = {
        ".gz": gzip.compress,
        ".br": imagecodecs.brotli_encode,
        ".zstd": imagecodecs.zstd_encode,
    }[ending]
    _write_precomputed(tmp_path / "em", encoding, dtype)
    files = sorted((tmp_path / "em" / "4_8_40").iterdir())
    assert len(files) == 24
    for file in files[1:]:
        file.with_name(file.name + ending).write_bytes(compress(file.read_bytes()))
        file.unlink()
    _check(f"{tmp_path}/em", origin=(3, -20, 100))
    files[0].unlink()
    assert (open_volume(f"{tmp_path}/em").store.read().result() == 0).any()
    strict = open_volume(f"{tmp_path}/em?missing=error")
    with pytest.raises(InputError, match=r"4_8_40/.* is missing, also with \.gz behind its name"):
        strict.read(strict.box)
    broken = files[5].with_name(files[5].name + ending)
    broken.write_bytes(broken.read_bytes()[:9])
    volume = open_volume(f"{tmp_path}/em", context=ts.Context())
    with pytest.raises(InputError, match=f"{broken.name} cannot be de"):
        volume.read(volume.box)


def test_cloudvolume_itself(tmp_path: Path) -> None:
    cloudvolume = pytest.importorskip("cloudvolume", reason="cloud-volume is not installed")
    info = cloudvolume.CloudVolume.create_new_info(
        1,
        "image",
        "uint8",
        "raw",
        [4, 8, 40],
        [100, 20, 3],
        VOXELS.shape[::-1],
        chunk_size=[8, 8, 4],
    )
    volume = cloudvolume.CloudVolume(f"file://{tmp_path}/em", info=info)
    volume.commit_info()
    volume[:] = VOXELS.T[..., None]
    _check(f"{tmp_path}/em", origin=(3, 20, 100))


def test_cremi_as_h5py_writes_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        raw = file.create_dataset("volumes/raw", data=VOXELS, compression="gzip")
        ids = file.create_dataset("volumes/labels/neuron_ids", data=VOXELS.astype(np.uint64))
        raw.attrs["resolution"] = ids.attrs["resolution"] = NM
        # Padded images: labels begin within them.
        ids.attrs["offset"] = (80.0, 160.0, 160.0)
    _check(f"{tmp_path}/a.hdf")
    _check(f"{tmp_path}/a.hdf:volumes/labels/neuron_ids", origin=(2, 20, 40))


@pytest.mark.parametrize("version", ["2", "3"])
def test_the_layout_of_webknossos(tmp_path: Path, version: str) -> None:
    coarse = VOXELS[:, ::2, ::2]
    for name, voxels in (("1", VOXELS), ("2-2-1", coarse)):
        named = {"dimension_names": ["c", "x", "y", "z"]} if version == "3" else {}
        zarr.create_array(
            tmp_path / "ds" / "color" / name,
            data=np.ascontiguousarray(voxels.T[None]),
            chunks=(1, 8, 8, 4),
            zarr_format=int(version),
            **named,
        )
    order = {"c": 0, "x": 1, "y": 2, "z": 3}
    mags = [
        {"mag": [2, 2, 1], "path": "./color/2-2-1", "axisOrder": order},
        {"mag": [1, 1, 1], "path": "./color/1", "axisOrder": order},
    ]
    layer = {
        **{"name": "color", "category": "color", "elementClass": "uint8", "numChannels": 1},
        **{"dataFormat": "zarr3" if version == "3" else "zarr", "mags": mags},
    }
    about = {
        "id": {"name": "ds", "team": ""},
        "dataLayers": [layer],
        "scale": {"factor": [4.0, 8.0, 40.0], "unit": "nanometer"},
    }
    (tmp_path / "ds" / "datasource-properties.json").write_text(json.dumps(about))
    for address in ("ds", "ds:color"):
        _check(f"{tmp_path}/{address}", origin=(0, 0, 0))
    _check(f"{tmp_path}/ds:color/1")
    level = open_volume(f"{tmp_path}/ds:color?level=1")
    assert level.voxel_nm == (40, 16, 8)
    np.testing.assert_array_equal(level.store.read().result(), coarse)
    with pytest.raises(InputError, match="levels 0 to 1, not 2"):
        open_volume(f"{tmp_path}/ds:color?level=2")
    with pytest.raises(InputError, match="name a layer, as in .*; it has: color"):
        open_volume(f"{tmp_path}/ds:colour")
    for kind in ("wkw", "n5"):
        layer["dataFormat"] = kind
        (tmp_path / "ds" / "datasource-properties.json").write_text(json.dumps(about))
        with pytest.raises(InputError, match=f"kept as {kind}; emjax reads those kept as zarr"):
            open_volume(f"{tmp_path}/ds:color")


def test_an_array_of_webknossos_without_names_or_channels(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "ds" / "mask" / "1",
        data=np.ascontiguousarray(VOXELS.T),
        chunks=(8, 8, 4),
        zarr_format=2,
    )
    mag = {"mag": [1, 1, 1], "path": "mask/1", "axisOrder": {"x": 0, "y": 1, "z": 2}}
    about = {
        "dataLayers": [{"name": "mask", "dataFormat": "zarr", "mags": [mag]}],
        "scale": {"factor": [4.0, 8.0, 40.0], "unit": "nanometer"},
    }
    (tmp_path / "ds" / "datasource-properties.json").write_text(json.dumps(about))
    for address in ("ds:mask", "ds:mask/1", "ds/mask/1"):
        _check(f"{tmp_path}/{address}", origin=(0, 0, 0) if address == "ds:mask" else None)
    # Voxel sizes of the array's own do not hide in which order its axes are.
    array.attrs["voxel_size_nm_zyx"] = NM
    _check(f"{tmp_path}/ds:mask/1")
    (tmp_path / "ds" / "mask").rename(tmp_path / "ds" / "a mask")
    mag["path"] = "a mask/1"
    (tmp_path / "ds" / "datasource-properties.json").write_text(json.dumps(about))
    _check(f"{tmp_path}/ds/a mask/1")


@pytest.mark.parametrize("text", ["<html>", "[]", '{"dataLayers": 3}'])
def test_a_damaged_dataset_of_webknossos(tmp_path: Path, text: str) -> None:
    zarr.create_array(tmp_path / "ds" / "mask" / "1", data=VOXELS, zarr_format=2)
    (tmp_path / "ds" / "datasource-properties.json").write_text(text)
    for address in ("ds:mask", "ds/mask/1"):
        with pytest.raises(InputError, match="is damaged|break the rules") as raised:
            open_volume(f"{tmp_path}/{address}")
        assert "\n" not in str(raised.value)


def test_imagej_and_ome_as_tifffile_writes_them(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "j.tif",
        VOXELS,
        imagej=True,
        resolution=(250, 125),
        metadata={"spacing": 40, "unit": "um", "zunit": "nm", "axes": "ZYX"},
    )
    size = {f"PhysicalSize{a}": nm / 1000 for a, nm in zip("ZYX", NM, strict=True)}
    tifffile.imwrite(tmp_path / "o.ome.tif", VOXELS, ome=True, metadata={"axes": "ZYX", **size})
    for name in ("j.tif", "o.ome.tif"):
        _check(f"{tmp_path}/{name}")
