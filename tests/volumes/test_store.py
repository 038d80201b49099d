"""Opening by address: boxes, keys, crops, copies and what is said when it fails."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from absl import logging

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes import store
from emjax.volumes.origin import known_origin
from emjax.volumes.store import open_volume, shared_context

_VOXELS = np.random.default_rng(0).integers(0, 255, (8, 10, 12), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same voxels in three formats."""
    zarr.create_array(tmp_path / "a.zarr", data=_VOXELS, chunks=(4, 4, 4))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = _VOXELS
    tifffile.imwrite(tmp_path / "a.tif", _VOXELS)
    return tmp_path


_NAMES = ("a.zarr", "a.h5:raw", "a.tif")


@pytest.mark.parametrize("name", _NAMES)
def test_box_and_keys(folder: Path, name: str) -> None:
    volume = open_volume(f"{folder}/{name}[2:6,-4:,:5]?voxel_nm=40,8,4&weight=2")
    assert volume.box == Box((2, 6, 0), (4, 4, 5))
    assert volume.size == volume.shape == (4, 4, 5)
    assert volume.voxel_nm == (40, 8, 4)
    assert volume.address.keys["weight"] == "2"
    assert volume.name == f"{folder}/{name}[2:6,-4:,:5]"
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS[2:6, -4:, :5])
    np.testing.assert_array_equal(volume.read(Box((1, 1, 1), (2, 3, 4))), _VOXELS[3:5, 7:10, 1:5])


@pytest.mark.parametrize("name", [*_NAMES, "synthetic"])
def test_a_pickled_copy_reads_the_same(folder: Path, name: str) -> None:
    address = "synthetic://neurites?shape=8,16,16" if name == "synthetic" else f"{folder}/{name}"
    volume = open_volume(address + "[1:7]")
    copy = pickle.loads(pickle.dumps(volume))
    assert (copy.address, copy.box, copy.voxel_nm) == (volume.address, volume.box, volume.voxel_nm)
    box = Box((2, 3, 4), (3, 4, 5))
    np.testing.assert_array_equal(copy.read(box), volume.read(box))


def test_a_crop_of_a_crop_knows_its_place(folder: Path) -> None:
    volume = open_volume(f"{folder}/a.zarr[1:8,2:10]?voxel_nm=40,8,4")
    part = volume.crop(Box((1, 2, 3), (3, 4, 5))).crop(Box((1, 0, 1), (2, 2, 2)))
    assert part.box == Box((3, 4, 4), (2, 2, 2))
    assert part.voxel_nm == (40, 8, 4)
    np.testing.assert_array_equal(part.store.read().result(), _VOXELS[3:5, 4:6, 4:6])
    again = open_volume(part.address)
    assert again.box == part.box
    np.testing.assert_array_equal(again.store.read().result(), part.store.read().result())


def test_a_relative_path_stays_right_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    volumes = [open_volume(name) for name in _NAMES]
    assert [v.address.path for v in volumes] == ["a.zarr", "a.h5", "a.tif"]
    monkeypatch.chdir("/")
    for volume in volumes:
        np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)


def test_a_cache_of_ones_own() -> None:
    assert shared_context(1 << 20) is shared_context(1 << 20)
    assert shared_context(1 << 20) is not shared_context()


def test_no_jax() -> None:
    """Workers on CPU nodes need not start it."""
    code = "import sys, emjax.volumes.store, emjax.geometry.grid; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_synthetic(folder: Path) -> None:
    volume = open_volume("synthetic://neurites?shape=8,16,24&voxel_nm=30,6,6[0:4]")
    assert volume.size == (4, 16, 24)
    assert volume.voxel_nm == (30, 6, 6)


def test_one_channel(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (3, 5, 6, 7), np.uint8)
    zarr.save_array(str(tmp_path / "c.zarr"), voxels)
    volume = open_volume(f"{tmp_path}/c.zarr[1:4]?channel=2")
    assert volume.size == (3, 6, 7)
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), (3, 6, 7))), voxels[2, 1:4])
    # What is done with one channel is not taken for done with another.
    other = open_volume(f"{tmp_path}/c.zarr[1:4]?channel=1")
    assert volume.address.source != other.address.source
    with pytest.raises(InputError, match="has channels 0 to 2, not 3"):
        open_volume(f"{tmp_path}/c.zarr?channel=3")


@pytest.mark.parametrize(
    ("name", "helps"),
    [
        ("b.zarr", r"no such path.*did you mean .*a\.zarr\?"),
        ("quite_other", "no such path.*holds: a.h5, a.tif, a.zarr"),
        ("a.zarr,a.tif", "several volumes are separated by ';', not by ','"),
        ("x/y.zarr", "nor is there a folder"),
        ("a.zarr[0:9]", r"a\.zarr: box \[0:9\] leaves the volume.*\(8, 10, 12\)"),
        ("a.tif[0:0]", "empty"),
        ("a.h5:row", "no dataset 'row'; it holds: raw"),
        ("a.zarr?voxel_nm=4", "three positive numbers"),
        ("a.zarr[5]", r"'5' is no range"),
        ("a.tif:raw", "no datasets inside; leave out ':raw'"),
        ("a.h5:raw?level=1", "no pyramid; leave out level=1"),
        ("a.tif?level=1", "no pyramid; leave out level=1"),
        ("a.zarr?level=x", "level=x is not a whole number"),
        ("a.zarr?channel=-1", "channel=-1 is not a whole number"),
        ("a.zarr?channel=0", "one channel alone; leave out channel=0"),
        ("a.txt", "no format that is known: give .zarr"),
    ],
)
def test_mistakes(folder: Path, name: str, helps: str) -> None:
    if name == "a.txt":
        (folder / name).write_text("")
    with pytest.raises(InputError, match=helps):
        open_volume(f"{folder}/{name}")


def test_decoded_voxels_are_kept_only_where_reading_is_slow(tmp_path, monkeypatch) -> None:
    contexts = []

    def opened(address, *, context):
        contexts.append(context)
        return open_volume(address, context=context)

    monkeypatch.setattr(store, "open_volume", opened)
    address = f"{tmp_path}/a.h5:raw"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = np.zeros((8, 9, 10), np.uint8)
    assert not store.open_for_blocks(address).slow_random_access
    assert contexts == [store.shared_context(0)]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=np.zeros((8, 9, 10), np.uint8), compression="gzip")
    assert store.open_for_blocks(address).slow_random_access
    assert contexts[-1] is store.shared_context(store.BLOCK_CACHE_BYTES)


@pytest.mark.parametrize("size", [0.0, -0.04, float("nan"), float("inf"), 1e-9])
def test_a_size_that_no_voxel_has_is_unknown_in_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: float
) -> None:
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    store._say_impossible.cache_clear()
    about = {"spacing": size, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(
        tmp_path / "a.tif", _VOXELS, imagej=True, resolution=(250, 250), metadata=about
    )
    group = zarr.open_group(tmp_path / "ome", mode="w", zarr_format=2)
    group.create_array("0", data=_VOXELS, chunks=(4, 4, 4))
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [size, 1, 1]}]}
    axes = [{"name": n, "unit": "nanometer"} for n in "zyx"]
    (tmp_path / "ome" / ".zattrs").write_text(
        json.dumps({"multiscales": [{"axes": axes, "datasets": [level]}]})
    )
    zarr.create_array(tmp_path / "plain", data=_VOXELS, chunks=(4, 4, 4), zarr_format=2)
    (tmp_path / "plain" / ".zattrs").write_text(json.dumps({"resolution": [size, 4, 4]}))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = _VOXELS
        file["raw"].attrs["resolution"] = (size, 4.0, 4.0)
    for name in ("a.tif", "ome", "plain", "a.h5"):
        volume = open_volume(f"{tmp_path}/{name}")
        assert volume.voxel_nm is None, name
        # A place in such voxels is none.
        assert known_origin(volume) is None
        assert open_volume(f"{tmp_path}/{name}?voxel_nm=40,4,4").voxel_nm == (40, 4, 4)
    assert any("ome says that its voxels are" in text for text in said)
    with pytest.raises(InputError, match="three positive numbers"):
        open_volume(f"{tmp_path}/a.h5?voxel_nm={size if size != 1e-9 else 0},4,4")


def test_no_voxels(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", shape=(0, 4, 4), chunks=(1, 4, 4), dtype="u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", shape=(4, 0, 4), dtype="u1")
    for name in ("a", "a.h5"):
        with pytest.raises(InputError, match=f"{name} is empty: it has axes of"):
            open_volume(f"{tmp_path}/{name}")
