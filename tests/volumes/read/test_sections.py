"""Folders of sections: order, gaps, sizes and damaged files."""

from __future__ import annotations

import pickle
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from absl import logging

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.read import missing, sections
from emjax.volumes.store import open_volume

_VOXELS = np.random.default_rng(0).integers(0, 255, (12, 10, 14), np.uint8)
_BOX = Box((1, 2, 3), (9, 5, 6))


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
    original = sections.read_image
    monkeypatch.setattr(sections, "read_image", lambda p: decoded.append(p) or original(p))
    for x in range(4):
        volume.read(Box((2, 0, x), (3, 4, 4)))
    assert sorted(decoded) == [f"{tmp_path}/{z}.png" for z in (2, 3, 4)]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "uint64", "int8"])
def test_types_of_sections(tmp_path: Path, dtype: str) -> None:
    largest = 2**60 + 1 if dtype == "uint64" else 1
    voxels = _VOXELS[:3].astype(dtype) * np.dtype(dtype).type(largest)
    for z, section in enumerate(voxels):
        tifffile.imwrite(tmp_path / f"{z}.tif", section, byteorder=">")
    volume = open_volume(f"{tmp_path}/*.tif")
    assert volume.dtype == dtype and volume.slow_random_access
    np.testing.assert_array_equal(volume.store.read().result(), voxels)


def test_grey_saved_as_colours(tmp_path: Path) -> None:
    for z in range(2):
        colours = np.repeat(_VOXELS[z, :, :, None], 3, axis=2)
        imagecodecs.imwrite(tmp_path / f"{z}.png", colours)
    volume = open_volume(str(tmp_path))
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS[:2])


def test_a_gap_is_refused_or_black(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for z in (0, 1, 2, 5, 6, 8):
        imagecodecs.imwrite(tmp_path / f"s{z:03}.png", _VOXELS[z])
    with pytest.raises(
        InputError, match=r"lacks 3 of 9 sections: s003\.png, s004\.png, s007\.png; add them"
    ):
        open_volume(str(tmp_path))
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    missing._say.cache_clear()
    for _ in range(2):
        volume = open_volume(f"{tmp_path}/*.png?missing=fill")
    assert len(said) == 1
    assert "lacks 3 of 9 sections: s003.png, s004.png, s007.png; they are taken as 0" in said[0]
    expected = _VOXELS[:9].copy()
    expected[[3, 4, 7]] = 0
    np.testing.assert_array_equal(volume.store.read().result(), expected)
    with pytest.raises(InputError, match="missing=skip must be error or fill"):
        open_volume(f"{tmp_path}?missing=skip")


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty; give a folder of sections"):
        open_volume(str(tmp_path))
    with pytest.raises(InputError, match=r"no section matches.*folder/\*.png"):
        open_volume(f"{tmp_path}/*.png")
    imagecodecs.imwrite(tmp_path / "0.png", np.stack([_VOXELS[0], _VOXELS[1], _VOXELS[2]], -1))
    with pytest.raises(InputError, match=r"0\.png is \(10, 14, 3\); emjax reads grey sections"):
        open_volume(f"{tmp_path}/*.png")
    tifffile.imwrite(tmp_path / "0.tif", _VOXELS[0])
    with pytest.raises(InputError, match=r"holds \.png and \.tif; say which"):
        open_volume(str(tmp_path))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sections_of_two_sizes_are_refused_at_once(tmp_path: Path, suffix: str) -> None:
    for z, side in enumerate((4, 4, 5)):
        section = np.zeros((side, 4), np.uint8)
        (imagecodecs if suffix == "png" else tifffile).imwrite(tmp_path / f"{z}.{suffix}", section)
    expected = rf"2\.{suffix} is \(5, 4\), but .*0\.{suffix} is \(4, 4\); all sections of a volume need one size"
    with pytest.raises(InputError, match=expected):
        open_volume(f"{tmp_path}/*.{suffix}")
    (tmp_path / f"2.{suffix}").unlink()
    assert open_volume(f"{tmp_path}/*.{suffix}").size == (2, 4, 4)


def test_sections_that_change_under_a_job(tmp_path: Path) -> None:
    for z in range(5):
        imagecodecs.imwrite(tmp_path / f"{z}.png", _VOXELS[z])
    volume = open_volume(f"{tmp_path}/*.png")
    imagecodecs.imwrite(tmp_path / "1.png", _VOXELS[1, :4])
    imagecodecs.imwrite(tmp_path / "2.png", _VOXELS[2].astype(np.uint16))
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "4.png").unlink()
    for z, helps in enumerate(
        (
            r"1\.png is \(4, 14\), but .*0\.png is \(10, 14\)",
            r"2\.png is uint16, but .*0\.png is uint8",
            r"3\.png cannot be read",
            r"4\.png cannot be read: No such file",
        ),
        start=1,
    ):
        with pytest.raises(InputError, match=rf"cannot be read at \[{z}:{z + 1},.*{helps}"):
            volume.read(Box((z, 0, 0), (1, 4, 4)))
    assert volume.read(Box((0, 0, 0), (1, 4, 4))).any()


def test_stacks_one_after_another(tmp_path: Path) -> None:
    voxels = np.random.default_rng(3).integers(0, 255, (12, 10, 12), np.uint8)
    for number, (a, b) in enumerate(((0, 5), (5, 6), (6, 12))):
        tifffile.imwrite(tmp_path / f"part{number}.tif", voxels[a:b])
    volume = open_volume(f"{tmp_path}/part*.tif")
    np.testing.assert_array_equal(volume.store.read().result(), voxels)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume.store)).read().result(), voxels)
    tifffile.imwrite(tmp_path / "part1.tif", voxels[:2].astype(np.uint16))
    with pytest.raises(InputError, match="part1.tif has 2x10x12 uint16 .*but .*part0.tif has 5x"):
        open_volume(f"{tmp_path}/part*.tif")
    (tmp_path / "part1.tif").unlink()
    for number in (3, 4):
        tifffile.imwrite(tmp_path / f"part{number}.tif", voxels[:5])
    with pytest.raises(InputError, match="lacks .*1.*nobody knows how many sections"):
        open_volume(f"{tmp_path}/part*.tif?missing=fill")
