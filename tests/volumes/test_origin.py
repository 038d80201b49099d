"""Where volumes lie: the translation of a file and the box of an address, in voxels; centres and corners."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.create import create_volume
from emjax.volumes.formats import parse_output
from emjax.volumes.origin import file_corner, known_origin, origin_voxels
from emjax.volumes.place import _say_uncounted
from emjax.volumes.store import open_volume
from emjax.volumes.write.output import NewVolume
from emjax.volumes.write.pyramid import plan_levels

SHAPE = (4, 6, 8)


def test_ome_zarr(tmp_path):
    create_volume(tmp_path / "a.zarr", SHAPE, np.uint8, (40, 4, 5), {}, origin=(3, 20, 100))
    assert origin_voxels(open_volume(f"{tmp_path}/a.zarr")) == (3, 20, 100)
    assert origin_voxels(open_volume(f"{tmp_path}/a.zarr[1:3,:,2:]")) == (4, 20, 102)
    # Other voxels than the file says: the place is kept in voxels.
    assert origin_voxels(open_volume(f"{tmp_path}/a.zarr?voxel_nm=1,1,1")) == (3, 20, 100)
    # Without a size of voxels, too.
    create_volume(tmp_path / "b.zarr", SHAPE, np.uint8, None, {}, origin=(3, 20, 100))
    assert origin_voxels(open_volume(f"{tmp_path}/b.zarr")) == (3, 20, 100)


def test_ome_zarr_of_others(tmp_path):
    """Version 0.4, axes x, y, z, and a transformation of all levels after that of each."""
    ts.open(
        {
            "driver": "zarr",
            "kvstore": f"file://{tmp_path}/a.zarr/s1/",
            "metadata": {"shape": [8, 6, 4], "chunks": [8, 6, 4], "dtype": "|u1"},
        },
        create=True,
    ).result()[:] = 1
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "xyz"]
    level = [
        {"type": "scale", "scale": [2, 2, 1]},
        {"type": "translation", "translation": [0.5, 0.5, 0]},
    ]
    image = {
        "axes": axes,
        "datasets": [{"path": "s1", "coordinateTransformations": level}],
        "coordinateTransformations": [
            {"type": "scale", "scale": [0.01, 0.01, 0.04]},
            {"type": "translation", "translation": [1, 0, 0.4]},
        ],
    }
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    volume = open_volume(f"{tmp_path}/a.zarr")
    assert volume.voxel_nm == pytest.approx((40, 20, 20))
    assert origin_voxels(volume) == pytest.approx((10, 0.25, 50.25))
    image["coordinateTransformations"][1]["translation"] = [1]
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    with pytest.raises(InputError, match="do not say where it lies"):
        origin_voxels(volume)


def test_precomputed(tmp_path):
    ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": f"file://{tmp_path}/p/",
            "multiscale_metadata": {"data_type": "uint8", "num_channels": 1, "type": "image"},
            "scale_metadata": {
                "resolution": [5, 4, 40],
                "size": [8, 6, 4],
                "voxel_offset": [100, 20, 3],
                "chunk_size": [8, 6, 4],
                "encoding": "raw",
            },
        },
        create=True,
    ).result()[:] = 1
    assert origin_voxels(open_volume(f"{tmp_path}/p[1:]")) == (4, 20, 100)


def test_files_that_do_not_say(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(SHAPE, np.uint8)
    assert origin_voxels(open_volume(f"{tmp_path}/a.h5:x[2:3,1:]")) == (2, 1, 0)
    assert origin_voxels(open_volume("synthetic://neurites?shape=8,16,16")) == (0, 0, 0)


def _corner(path: Path, keys: str = "") -> tuple[float, float, float]:
    return file_corner(Address.parse(f"{path}{keys}"))


def _write_ome(path: Path, image: dict) -> Path:
    path.mkdir()
    group = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"ome": {"multiscales": [image]}},
    }
    (path / "zarr.json").write_text(json.dumps(group))
    return path


def test_a_part_lies_where_it_was_cut(tmp_path):
    for name, voxel_nm in (("known", (40.0, 4.4, 4.4)), ("unknown", None)):
        create_volume(tmp_path / name, (4, 5, 6), np.uint8, voxel_nm, {}, origin=(3, 10, 20))
        assert _corner(tmp_path / name) == (3, 10, 20)
    create_volume(tmp_path / "whole", (2, 4, 5, 6), np.uint8, (40.0, 4.0, 4.0), {})
    assert _corner(tmp_path / "whole") == (0, 0, 0)


def test_coarse_levels_begin_at_the_same_corner(tmp_path):
    size, voxel_nm, origin = (32, 128, 128), (16.0, 4.0, 4.0), (6, 10, 20)
    levels = plan_levels(size, voxel_nm, count=4)
    create_volume(tmp_path / "a", size, np.uint8, voxel_nm, {}, origin=origin, coarser=levels[1:])
    for number, level in enumerate(levels):
        expected = np.divide(origin, level.factor)
        assert np.allclose(_corner(tmp_path / "a", f"?level={number}"), expected), number
    assert levels[-1].factor == (2, 8, 8)


def test_axes_in_another_order_and_places_of_the_whole(tmp_path):
    axes = [{"name": name, "type": "space"} for name in "xyz"]
    level = {
        "path": "0",
        "coordinateTransformations": [
            {"type": "scale", "scale": [4, 5, 40]},
            {"type": "translation", "translation": [8, 15, 160]},
        ],
    }
    # The whole image is stretched by 2 and moved: voxels of 8, 10 and 80.
    steps = [
        {"type": "scale", "scale": [2, 2, 2]},
        {"type": "translation", "translation": [80, 0, 0]},
    ]
    image = {"axes": axes, "datasets": [level], "coordinateTransformations": steps}
    assert _corner(_write_ome(tmp_path / "a", image)) == (4, 3, 12)


def test_level_without_a_place_begins_where_the_first_does(tmp_path):
    datasets = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": [f, f, f]}]}
        for i, f in enumerate((4, 8))
    ]
    image = {"axes": [{"name": n} for n in "zyx"], "datasets": datasets}
    assert _corner(_write_ome(tmp_path / "a", image), "?level=1") == (0, 0, 0)


def test_the_corner_of_precomputed(tmp_path):
    scale = {"resolution": [4, 4, 40], "voxel_offset": [30, 20, 10]}
    (tmp_path / "info").write_text(json.dumps({"scales": [scale]}))
    assert _corner(tmp_path) == (10, 20, 30)


def test_what_does_not_say_lies_at_0(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"")
    assert _corner(tmp_path / "a.tif") == _corner(tmp_path / "*.png") == (0, 0, 0)
    assert file_corner(Address.parse("synthetic://neurites?shape=8,8,8")) == (0, 0, 0)


def test_broken_metadata_is_one_line(tmp_path):
    image = {"axes": [{"name": n} for n in "tyx"], "datasets": [{"path": "0"}]}
    with pytest.raises(InputError, match="a: its metadata do not say where it lies"):
        _corner(_write_ome(tmp_path / "a", image))


def test_unknown_is_not_0(tmp_path):
    """What an array, a part of OME-Zarr and HDF5 do not say is None; a box counts where they do."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.ones(SHAPE, np.uint8)
        file["x"].attrs["offset"] = (80.0, 8.0, 0.0)
    # An offset in nm means nothing without a voxel size.
    assert known_origin(open_volume(f"{tmp_path}/a.h5:x")) is None
    assert known_origin(open_volume(f"{tmp_path}/a.h5:x[1:]?voxel_nm=40,4,4")) == (3, 2, 0)
    create_volume(tmp_path / "a.zarr", SHAPE, np.uint8, (40, 4, 5), {})
    assert known_origin(open_volume(f"{tmp_path}/a.zarr[1:]")) is None
    assert origin_voxels(open_volume(f"{tmp_path}/a.zarr[1:]")) == (1, 0, 0)
    create_volume(tmp_path / "b.zarr", SHAPE, np.uint8, (40, 4, 5), {}, origin=(0, 0, 7))
    assert known_origin(open_volume(f"{tmp_path}/b.zarr[1:]")) == (1, 0, 7)


def test_what_emjax_writes_says_where_it_lies_in_every_format(tmp_path):
    levels = plan_levels(SHAPE, (40.0, 4.4, 4.4), count=1)
    for name in ("a.zarr", "a.h5", "a.precomputed"):
        output = parse_output(f"{tmp_path}/{name}")
        new = NewVolume(0, "uint8", "image", (40.0, 4.4, 4.4), (3, 20, 100), levels, "mean", {})
        output.create(new)
        output.open()[...] = 1
        output.finish()
        assert known_origin(open_volume(f"{tmp_path}/{name}[1:]")) == (4, 20, 100), name


def test_an_offset_is_counted_in_the_voxels_of_the_address(tmp_path, caplog):
    """Arrays with an offset in nm and no voxel size of their own lie where the address's size says."""
    _say_uncounted.cache_clear()
    meta = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/a.zarr"}}
    made = ts.open(meta, create=True, dtype="uint8", shape=SHAPE).result()
    made.write(1).result()
    text = json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    (tmp_path / "a.zarr/zarr.json").write_text(
        json.dumps({**text, "attributes": {"offset": [80, 8, 0]}})
    )
    n5 = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{tmp_path}/a.n5"}}
    metadata = {"offset": [0, 8, 80], "dimensions": SHAPE[::-1], "blockSize": SHAPE[::-1]}
    ts.open({**n5, "metadata": metadata}, create=True, dtype="uint8").result().write(1).result()
    for name in ("a.zarr", "a.n5"):
        assert known_origin(open_volume(f"{tmp_path}/{name}?voxel_nm=40,4,4")) == (2, 2, 0)
        assert known_origin(open_volume(f"{tmp_path}/{name}")) is None
    assert "offset of 80,8,0 (z, y, x) in a volume without a voxel size" in caplog.text


def test_a_level_named_inside_its_group_lies_where_the_group_says(tmp_path):
    create_volume(tmp_path / "b.zarr", SHAPE, np.uint8, (40, 4, 5), {}, origin=(0, 2, 7))
    for name in ("b.zarr:0", "b.zarr/0"):
        volume = open_volume(f"{tmp_path}/{name}")
        assert volume.voxel_nm == (40, 4, 5)
        assert known_origin(volume) == (0, 2, 7)
    # A group that is damaged takes nothing from its array.
    (tmp_path / "b.zarr/zarr.json").write_text('{"attributes": {"ome": {"multiscales": [7]}}}')
    assert known_origin(open_volume(f"{tmp_path}/b.zarr:0?missing=fill")) is None


def test_sizes_and_offsets_of_n5_are_in_the_order_of_its_axes(tmp_path):
    """Where an array names its axes, its numbers are listed in the same order."""
    n5 = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{tmp_path}/a.n5"}}
    numbers = {"axes": ["z", "y", "x"], "resolution": [40, 5, 4], "offset": [80, 5, 0]}
    metadata = {**numbers, "dimensions": SHAPE, "blockSize": SHAPE}
    ts.open({**n5, "metadata": metadata}, create=True, dtype="uint8").result().write(1).result()
    volume = open_volume(f"{tmp_path}/a.n5")
    assert (volume.size, volume.voxel_nm) == (SHAPE, (40, 5, 4))
    assert known_origin(volume) == (2, 1, 0)
