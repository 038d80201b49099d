"""TIFF stacks as tifffile writes them, and folders of sections."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes import images
from emjax.volumes.store import open_volume

_VOXELS = np.random.default_rng(0).integers(0, 255, (12, 10, 14), np.uint8)
_BOX = Box((1, 2, 3), (9, 5, 6))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_plain_tiff(tmp_path: Path, dtype: str, compression: str | None) -> None:
    voxels = _VOXELS.astype(dtype)
    order = ">" if dtype[0] == ">" else "<"
    tifffile.imwrite(tmp_path / "a.tif", voxels, compression=compression, byteorder=order)
    volume = open_volume(f"{tmp_path}/a.tif")
    assert volume.dtype == voxels.dtype.newbyteorder("=")
    assert volume.voxel_nm is None
    assert volume.slow_random_access
    np.testing.assert_array_equal(volume.read(_BOX), voxels[_BOX.slices])


@pytest.mark.parametrize("unit", ["um", "nm", "micron"])
def test_imagej_voxel_size(tmp_path: Path, unit: str) -> None:
    factor = 1 if unit == "nm" else 0.001
    tifffile.imwrite(
        tmp_path / "a.tif",
        _VOXELS.astype(np.uint16),
        imagej=True,
        resolution=(1 / (4 * factor), 1 / (8 * factor)),
        metadata={"spacing": 40 * factor, "unit": unit, "axes": "ZYX"},
    )
    volume = open_volume(f"{tmp_path}/a.tif")
    np.testing.assert_allclose(volume.voxel_nm, (40, 8, 4), rtol=1e-5)
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)


def test_imagej_stack_with_one_directory(tmp_path: Path) -> None:
    """ImageJ describes only the first section of large stacks."""
    tifffile.imwrite(tmp_path / "a.tif", _VOXELS.astype(np.uint16), imagej=True, truncate=True)
    volume = open_volume(f"{tmp_path}/a.tif")
    assert volume.size == _VOXELS.shape
    assert volume.dtype == np.uint16
    np.testing.assert_array_equal(volume.read(_BOX), _VOXELS[_BOX.slices])


def test_an_overwritten_stack_is_read_anew(tmp_path: Path) -> None:
    for voxels in (_VOXELS, 255 - _VOXELS):
        tifffile.imwrite(tmp_path / "a.tif", voxels, compression="zlib")
        volume = open_volume(f"{tmp_path}/a.tif")
        np.testing.assert_array_equal(volume.store.read().result(), voxels)


def test_many_threads_and_a_pickled_copy(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _VOXELS, compression="zlib")
    copy = pickle.loads(pickle.dumps(open_volume(f"{tmp_path}/a.tif")))
    boxes = [Box((z, y, 2), (3, 5, 6)) for z in range(9) for y in range(5)]
    with ThreadPoolExecutor(8) as threads:
        for box, crop in zip(boxes, threads.map(copy.read, boxes), strict=True):
            np.testing.assert_array_equal(crop, _VOXELS[box.slices])


def test_ome_voxel_size(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        _VOXELS,
        ome=True,
        metadata={
            "axes": "ZYX",
            "PhysicalSizeZ": 40,
            "PhysicalSizeZUnit": "nm",
            "PhysicalSizeY": 0.008,
            "PhysicalSizeX": 0.004,
        },
    )
    volume = open_volume(f"{tmp_path}/a.ome.tif")
    np.testing.assert_allclose(volume.voxel_nm, (40, 8, 4))
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sections_in_natural_order(tmp_path: Path, suffix: str) -> None:
    # Names without leading zeros: in the order of text, 10 comes before 2.
    for z, section in enumerate(_VOXELS):
        path = tmp_path / f"s{z}.{suffix}"
        (imagecodecs if suffix == "png" else tifffile).imwrite(path, section)
    (tmp_path / "readme.txt").write_text("no section")
    for address in (f"{tmp_path}/*.{suffix}", str(tmp_path)):
        volume = open_volume(f"{address}?voxel_nm=50,4,4")
        assert volume.size == _VOXELS.shape
        assert volume.voxel_nm == (50, 4, 4)
        np.testing.assert_array_equal(volume.read(_BOX), _VOXELS[_BOX.slices])


def test_natural_order_across_folders(tmp_path: Path) -> None:
    for z, section in enumerate(_VOXELS):
        (tmp_path / f"part{z // 4 * 5}").mkdir(exist_ok=True)
        imagecodecs.imwrite(tmp_path / f"part{z // 4 * 5}" / f"{z % 4}.png", section)
    volume = open_volume(f"{tmp_path}/part*/?.png")
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)


def test_each_section_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for z, section in enumerate(_VOXELS):
        imagecodecs.imwrite(tmp_path / f"{z}.png", section)
    volume = open_volume(f"{tmp_path}/*.png")
    decoded = []
    original = images._read_section
    monkeypatch.setattr(images, "_read_section", lambda p: decoded.append(p) or original(p))
    for x in range(4):
        volume.read(Box((2, 0, x), (3, 4, 4)))
    assert sorted(decoded) == [f"{tmp_path}/{z}.png" for z in (2, 3, 4)]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no section matches.*folder/\*.png"):
        open_volume(f"{tmp_path}/*.png")
    imagecodecs.imwrite(tmp_path / "0.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="0.png is.*grey sections"):
        open_volume(f"{tmp_path}/*.png")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((2, 4, 4, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="grey sections"):
        open_volume(f"{tmp_path}/c.tif")
    tifffile.imwrite(
        tmp_path / "e.tif",
        np.zeros((3, 2, 8, 8), np.uint16),
        imagej=True,
        metadata={"axes": "ZCYX"},
    )
    with pytest.raises(InputError, match="axes ZCYX.*one channel and one time"):
        open_volume(f"{tmp_path}/e.tif")
    with tifffile.TiffWriter(tmp_path / "f.tif") as file:
        for side in (16, 24):
            file.write(np.zeros((side, 16), np.uint8))
    with pytest.raises(InputError, match="pages of several kinds"):
        open_volume(f"{tmp_path}/f.tif")
    with pytest.raises(InputError, match=r"holds \.png and \.tif; say which"):
        open_volume(str(tmp_path))
    (tmp_path / "d.tif").write_bytes(b"no TIFF")
    with pytest.raises(InputError, match="d.tif cannot be read as TIFF"):
        open_volume(f"{tmp_path}/d.tif")


def test_sections_of_two_sizes(tmp_path: Path) -> None:
    for z, side in enumerate((4, 4, 5)):
        imagecodecs.imwrite(tmp_path / f"{z}.png", np.zeros((side, side), np.uint8))
    volume = open_volume(f"{tmp_path}/*.png")
    assert volume.read(Box((0, 0, 0), (2, 4, 4))).shape == (2, 4, 4)
    with pytest.raises(ValueError, match="2.png is"):
        volume.read(Box((0, 0, 0), (3, 4, 4)))
