"""Array formats written by zarr-python and TensorStore open with the right values, axes and voxel size."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import zarr

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

_VOXELS = np.random.default_rng(0).integers(0, 255, (6, 10, 14), np.uint8)
_BOX = Box((1, 2, 3), (4, 5, 6))


def _check(volume: Volume, voxels: np.ndarray, voxel_nm: tuple | None) -> None:
    assert volume.size == voxels.shape[-3:]
    assert volume.dtype == voxels.dtype
    np.testing.assert_array_equal(volume.read(_BOX), voxels[(..., *_BOX.slices)])
    np.testing.assert_array_equal(volume.store.read().result(), voxels)
    if voxel_nm is None:
        assert volume.voxel_nm is None
    else:
        np.testing.assert_allclose(volume.voxel_nm, voxel_nm)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", "bool", "uint64"])
def test_zarr(tmp_path: Path, version: int, dtype: str) -> None:
    voxels = (_VOXELS % 2 if dtype == "bool" else _VOXELS).astype(dtype)
    array = zarr.create_array(
        tmp_path / "a.zarr", data=voxels, chunks=(4, 4, 4), zarr_format=version
    )
    _check(open_volume(f"{tmp_path}/a.zarr"), voxels.astype(voxels.dtype.newbyteorder("=")), None)
    array.attrs["resolution"] = [40, 8, 4]
    _check(
        open_volume(f"{tmp_path}/a.zarr", context=ts.Context()),
        voxels.astype(voxels.dtype.newbyteorder("=")),
        (40, 8, 4),
    )


def test_zarr_in_a_group_and_with_channels(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    channels = np.stack([_VOXELS, 255 - _VOXELS])
    group.create_array("volumes/raw", data=_VOXELS, chunks=(4, 4, 4))
    group.create_array("affinities", data=channels, chunks=(1, 4, 4, 4))
    _check(open_volume(f"{tmp_path}/a.zarr:volumes/raw"), _VOXELS, None)
    _check(open_volume(f"{tmp_path}/a.zarr:affinities"), channels, None)
    with pytest.raises(InputError, match="is a group, not an array; name one.*volumes/raw"):
        open_volume(f"{tmp_path}/a.zarr")
    with pytest.raises(InputError, match="inside are|holds no zarr"):
        open_volume(f"{tmp_path}/a.zarr:wrong")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    coarse = _VOXELS[:, ::2, ::2]
    for name, voxels in (("s0", _VOXELS), ("s1", coarse)):
        group.create_array(name, data=voxels[None], chunks=(1, 4, 4, 4))
    multiscales = [
        {
            "version": version,
            "axes": [{"name": "c", "type": "channel"}]
            + [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"],
            "datasets": [
                {
                    "path": f"s{k}",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1, 0.02, 0.004 * 2**k, 0.004 * 2**k]},
                        {"type": "translation", "translation": [0, 0, 0.002 * k, 0.002 * k]},
                    ],
                }
                for k in range(2)
            ],
            "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 1, 1]}],
        }
    ]
    if version == "0.4":
        group.attrs["multiscales"] = multiscales
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    _check(open_volume(f"{tmp_path}/a.zarr"), _VOXELS, (40, 4, 4))
    level = open_volume(f"{tmp_path}/a.zarr?level=1")
    assert level.size == (6, 5, 7)
    np.testing.assert_array_equal(level.store.read().result(), coarse)
    np.testing.assert_allclose(level.voxel_nm, (40, 8, 8))
    with pytest.raises(InputError, match="levels 0 to 1, not 2"):
        open_volume(f"{tmp_path}/a.zarr?level=2")


def test_n5(tmp_path: Path) -> None:
    folder = tmp_path / "a.n5"
    store = ts.open(
        {
            "driver": "n5",
            "kvstore": f"file://{folder}/raw/",
            "metadata": {
                "dataType": "uint16",
                "dimensions": _VOXELS.shape[::-1],
                "blockSize": [4, 4, 4],
                "compression": {"type": "gzip"},
            },
        },
        create=True,
    ).result()
    voxels = _VOXELS.astype(np.uint16) * 200
    store.write(voxels.T).result()
    _check(open_volume(f"{folder}:raw"), voxels, None)
    attributes = folder / "raw" / "attributes.json"
    plain = json.loads(attributes.read_text())
    for extra in (
        {"resolution": [4.0, 8.0, 40.0]},
        {"pixelResolution": {"dimensions": [0.004, 0.008, 0.04], "unit": "um"}},
    ):
        attributes.write_text(json.dumps({**plain, **extra}))
        volume = open_volume(f"{folder}:raw", context=ts.Context())
        _check(volume, voxels, (40, 8, 4))


def test_n5_group_of_levels(tmp_path: Path) -> None:
    base = tmp_path / "a.n5" / "em"
    for level in range(2):
        voxels = _VOXELS[:, :: 2**level, :: 2**level]
        ts.open(
            {
                "driver": "n5",
                "kvstore": f"file://{base}/s{level}/",
                "metadata": {
                    "dataType": "uint8",
                    "dimensions": voxels.shape[::-1],
                    "blockSize": [4, 4, 4],
                    "compression": {"type": "gzip"},
                },
            },
            create=True,
        ).result().write(voxels.T).result()
    (base / "attributes.json").write_text(json.dumps({"resolution": [4, 8, 40]}))
    coarse = base / "s1" / "attributes.json"
    attributes = json.loads(coarse.read_text())
    coarse.write_text(json.dumps({**attributes, "downsamplingFactors": [2, 2, 1]}))
    _check(open_volume(f"{tmp_path}/a.n5:em"), _VOXELS, (40, 8, 4))
    level = open_volume(f"{tmp_path}/a.n5:em?level=1")
    np.testing.assert_array_equal(level.store.read().result(), _VOXELS[:, ::2, ::2])
    assert level.voxel_nm == (40, 16, 8)
    with pytest.raises(InputError, match="without a level s2; name an array; inside are: s0, s1"):
        open_volume(f"{tmp_path}/a.n5:em?level=2")
    with pytest.raises(InputError, match="no zarr, N5.*inside are: em/s0, em/s1"):
        open_volume(f"{tmp_path}/a.n5:me")


def test_an_overwritten_volume_is_not_served_from_the_cache(tmp_path: Path) -> None:
    for voxels in (_VOXELS, 255 - _VOXELS):
        zarr.create_array(tmp_path / "a.zarr", data=voxels, chunks=(4, 4, 4), overwrite=True)
        _check(open_volume(f"{tmp_path}/a.zarr"), voxels, None)


def test_precomputed(tmp_path: Path) -> None:
    for shrink in (1, 2):
        voxels = _VOXELS[:, ::shrink, ::shrink]
        ts.open(
            {
                "driver": "neuroglancer_precomputed",
                "kvstore": f"file://{tmp_path}/em/",
                "multiscale_metadata": {
                    "type": "image",
                    "data_type": "uint8",
                    "num_channels": 1,
                },
                "scale_metadata": {
                    "size": voxels.shape[::-1],
                    "resolution": [4 * shrink, 8 * shrink, 40],
                    "encoding": "raw",
                    "chunk_size": [4, 4, 4],
                    "voxel_offset": [100, 20, 3],
                },
            },
            create=True,
        ).result().write(voxels.T[..., None]).result()
    _check(open_volume(f"{tmp_path}/em"), _VOXELS, (40, 8, 4))
    level = open_volume(f"{tmp_path}/em?level=1")
    np.testing.assert_array_equal(level.store.read().result(), _VOXELS[:, ::2, ::2])
    assert level.voxel_nm == (40, 16, 8)


# Ids that no float64 tells from their neighbours.
_IDS = _VOXELS.astype(np.uint64) + np.uint64(2**53)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float64"]
)
def test_types_of_zarr(tmp_path: Path, version: int, dtype: str) -> None:
    voxels = _IDS.astype(dtype) if dtype[-2:] == "64" else _VOXELS.astype(dtype)
    sharding = {"shards": (4, 8, 8)} if version == 3 else {"order": "F"}
    zarr.create_array(
        tmp_path / "a", data=voxels, chunks=(2, 4, 4), zarr_format=version, **sharding
    )
    volume = open_volume(f"{tmp_path}/a")
    _check(volume, voxels, None)
    assert not volume.slow_random_access


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int64", "float32"])
@pytest.mark.parametrize("compression", ["raw", "gzip"])
def test_types_of_n5(tmp_path: Path, dtype: str, compression: str) -> None:
    voxels = _IDS.astype(dtype) if dtype[-2:] == "64" else _VOXELS.astype(dtype)
    metadata = {
        **{"dataType": dtype, "dimensions": voxels.shape[::-1], "blockSize": [4, 4, 4]},
        **{"compression": {"type": compression}},
    }
    spec = {"driver": "n5", "kvstore": f"file://{tmp_path}/a/", "metadata": metadata}
    ts.open(spec, create=True).result().write(voxels.T).result()
    _check(open_volume(f"{tmp_path}/a"), voxels, None)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation"])
@pytest.mark.parametrize("sharded", [False, True])
def test_labels_of_precomputed(tmp_path: Path, dtype: str, encoding: str, sharded: bool) -> None:
    voxels = _IDS.astype(dtype)
    scale = {
        **{"size": voxels.shape[::-1], "resolution": [4, 8, 40], "encoding": encoding},
        **{"chunk_size": [4, 4, 4], "voxel_offset": [1000, -20, 3]},
    }
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = [8, 8, 8]
    if sharded:
        scale["sharding"] = {
            **{"@type": "neuroglancer_uint64_sharded_v1", "hash": "murmurhash3_x86_128"},
            **{"preshift_bits": 1, "minishard_bits": 1, "shard_bits": 1},
        }
    about = {"type": "segmentation", "data_type": dtype, "num_channels": 1}
    ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": f"file://{tmp_path}/a/",
            "multiscale_metadata": about,
            "scale_metadata": scale,
        },
        create=True,
    ).result().write(voxels.T[..., None]).result()
    _check(open_volume(f"{tmp_path}/a"), voxels, (40, 8, 4))


@pytest.mark.parametrize(
    ("unit", "nm"), [("nanometer", 1), ("angstrom", 0.1), ("micrometer", 1000), ("meter", 1e9)]
)
def test_ome_units_and_orders_of_axes(tmp_path: Path, unit: str, nm: float) -> None:
    """Some tools write c, x, y, z; some put the channel last."""
    for names in ("zyx", "czyx", "xyz", "cxyz", "zyxc", "tczyx"):
        group = zarr.open_group(tmp_path / names, mode="w", zarr_format=3)
        order = ["zyx".index(n) for n in names if n in "zyx"]
        voxels = _VOXELS.transpose(order)
        for axis, name in enumerate(names):
            if name not in "zyx":
                voxels = np.expand_dims(voxels, axis)
        group.create_array("0", data=np.ascontiguousarray(voxels), chunks=(4,) * voxels.ndim)
        sizes = {"z": 40, "y": 8, "x": 4}
        types = {"c": {"type": "channel"}, "t": {"type": "time", "unit": "second"}}
        axes = [{"name": n, **types.get(n, {"type": "space", "unit": unit})} for n in names]
        scale = {"type": "scale", "scale": [sizes.get(n, nm) / nm for n in names]}
        level = {"path": "0", "coordinateTransformations": [scale]}
        multiscales = [{"name": names, "axes": axes, "datasets": [level]}]
        group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
        _check(open_volume(f"{tmp_path}/{names}"), _VOXELS, (40, 8, 4))


def test_named_axes_of_zarr_3(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a",
        data=np.ascontiguousarray(np.stack([_VOXELS, 255 - _VOXELS]).transpose(0, 3, 2, 1)),
        chunks=(1, 4, 4, 4),
        dimension_names=["c", "x", "y", "z"],
    )
    array.attrs["resolution"] = [4, 8, 40]
    _check(open_volume(f"{tmp_path}/a"), np.stack([_VOXELS, 255 - _VOXELS]), (40, 8, 4))


def test_openorganelle_names_its_axes(tmp_path: Path) -> None:
    metadata = {
        **{"dataType": "uint8", "dimensions": _VOXELS.shape[::-1], "blockSize": [4, 4, 4]},
        **{"compression": {"type": "gzip"}},
    }
    spec = {"driver": "n5", "kvstore": f"file://{tmp_path}/a/", "metadata": metadata}
    ts.open(spec, create=True).result().write(_VOXELS.T).result()
    path = tmp_path / "a" / "attributes.json"
    transform = {"axes": ["z", "y", "x"], "scale": [3.24, 4, 8], "units": ["nm", "nm", "nm"]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "transform": transform}))
    _check(open_volume(f"{tmp_path}/a"), _VOXELS, (3.24, 4, 8))


def test_mistakes(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=_VOXELS, chunks=(4, 4, 4))
    with pytest.raises(InputError, match="single array, no pyramid; leave out level=1"):
        open_volume(f"{tmp_path}/a.zarr?level=1")
    zarr.create_array(tmp_path / "flat.zarr", data=_VOXELS[0], chunks=(4, 4))
    with pytest.raises(InputError, match=r"a volume needs z, y, x"):
        open_volume(f"{tmp_path}/flat.zarr")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("")
    with pytest.raises(InputError, match="other holds no zarr, N5 or precomputed"):
        open_volume(f"{tmp_path}/other")
    (tmp_path / "a.zarr" / "zarr.json").write_text('{"node_type": "array", "zarr_format": 3}')
    with pytest.raises(InputError, match="cannot be opened"):
        open_volume(f"{tmp_path}/a.zarr", context=ts.Context())
    (tmp_path / "a.zarr" / "zarr.json").write_text('{"node_type": "ar')
    with pytest.raises(InputError, match=r"a\.zarr/zarr\.json is damaged \(no JSON\); restore it"):
        open_volume(f"{tmp_path}/a.zarr")
    (tmp_path / "a.zarr" / "zarr.json").write_text(
        '{"node_type": "group", "attributes": {"ome": {"multiscales": [{"name": "x"}]}}}'
    )
    with pytest.raises(InputError, match="metadata that break the rules.*KeyError 'datasets'"):
        open_volume(f"{tmp_path}/a.zarr")


def test_images_in_a_group_are_named(tmp_path: Path) -> None:
    """As bioformats2raw writes series 0, 1, ..., each with its levels."""
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for series in range(2):
        group = root.create_group(str(series))
        group.create_array("0", data=_VOXELS, chunks=(4, 4, 4))
        axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
        scale = {"type": "scale", "scale": [40, 8, 4]}
        level = {"path": "0", "coordinateTransformations": [scale]}
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [level]}]
    with pytest.raises(InputError, match="holds no zarr.*inside are: 0, 1$"):
        open_volume(f"{tmp_path}/a.zarr")
    _check(open_volume(f"{tmp_path}/a.zarr:1"), _VOXELS, (40, 8, 4))


def test_zipped(tmp_path: Path) -> None:
    voxels = np.random.default_rng(2).integers(1, 255, (6, 20, 30), np.uint8)
    store = create_volume(tmp_path / "a.zarr", voxels.shape, "uint8", (40, 8, 4), {"kind": "x"})
    store[...] = voxels
    for root, name in ((tmp_path / "a.zarr", "a.zarr.zip"), (tmp_path, "b.zip")):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            for path in sorted((tmp_path / "a.zarr").rglob("*")):
                file.write(path, path.relative_to(root))
    for address in ("a.zarr.zip", "a.zarr.zip:0", "b.zip:a.zarr", "b.zip:a.zarr/0"):
        volume = open_volume(f"{tmp_path}/{address}")
        np.testing.assert_array_equal(volume.store.read().result(), voxels)
        assert volume.voxel_nm == (40, 8, 4)
        assert read_attributes(f"{tmp_path}/{address}") == {"kind": "x"}
    with pytest.raises(InputError, match="b.zip holds no zarr"):
        open_volume(f"{tmp_path}/b.zip")
    # An array of another program at the root of the file, above which there is nothing.
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as file:
        for path in sorted((tmp_path / "a.zarr" / "0").rglob("*")):
            file.write(path, path.relative_to(tmp_path / "a.zarr" / "0"))
    assert open_volume(f"{tmp_path}/d.zip").size == voxels.shape
    assert read_attributes(f"{tmp_path}/d.zip") == {}
    (tmp_path / "c.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="c.zip cannot be read"):
        open_volume(f"{tmp_path}/c.zip")
