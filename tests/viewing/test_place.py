"""Where files lie: OME-Zarr of every level, axes in any order, precomputed; 0 for what does not say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.viewing.place import file_origin
from emjax.volumes.address import Address
from emjax.volumes.create import create_volume
from emjax.volumes.pyramid import plan_levels


def _origin(path: Path, keys: str = "") -> tuple[float, float, float]:
    return file_origin(Address.parse(f"{path}{keys}"))


def _write_ome(path: Path, image: dict) -> Path:
    path.mkdir()
    group = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"ome": {"multiscales": [image]}},
    }
    (path / "zarr.json").write_text(json.dumps(group))
    return path


def test_part_lies_where_it_was_cut(tmp_path):
    for name, voxel_nm in (("known", (40.0, 4.4, 4.4)), ("unknown", None)):
        create_volume(tmp_path / name, (4, 5, 6), np.uint8, voxel_nm, {}, origin=(3, 10, 20))
        assert _origin(tmp_path / name) == (3, 10, 20)
    create_volume(tmp_path / "whole", (2, 4, 5, 6), np.uint8, (40.0, 4.0, 4.0), {})
    assert _origin(tmp_path / "whole") == (0, 0, 0)


def test_coarse_levels_begin_at_the_same_corner(tmp_path):
    size, voxel_nm, origin = (32, 128, 128), (16.0, 4.0, 4.0), (6, 10, 20)
    levels = plan_levels(size, voxel_nm, count=4)
    create_volume(tmp_path / "a", size, np.uint8, voxel_nm, {}, origin=origin, coarser=levels[1:])
    for number, level in enumerate(levels):
        expected = np.divide(origin, level.factor)
        assert np.allclose(_origin(tmp_path / "a", f"?level={number}"), expected), number
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
    assert _origin(_write_ome(tmp_path / "a", image)) == (4, 3, 12)


def test_level_without_a_place_begins_where_the_first_does(tmp_path):
    datasets = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": [f, f, f]}]}
        for i, f in enumerate((4, 8))
    ]
    image = {"axes": [{"name": n} for n in "zyx"], "datasets": datasets}
    assert _origin(_write_ome(tmp_path / "a", image), "?level=1") == (0, 0, 0)


def test_precomputed(tmp_path):
    scale = {"resolution": [4, 4, 40], "voxel_offset": [30, 20, 10]}
    (tmp_path / "info").write_text(json.dumps({"scales": [scale]}))
    assert _origin(tmp_path) == (10, 20, 30)


def test_what_does_not_say_lies_at_0(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"")
    assert _origin(tmp_path / "a.tif") == _origin(tmp_path / "*.png") == (0, 0, 0)
    assert file_origin(Address.parse("synthetic://neurites?shape=8,8,8")) == (0, 0, 0)


def test_broken_metadata_is_one_line(tmp_path):
    image = {"axes": [{"name": n} for n in "tyx"], "datasets": [{"path": "0"}]}
    with pytest.raises(InputError, match="a: its metadata does not say where it lies"):
        _origin(_write_ome(tmp_path / "a", image))
