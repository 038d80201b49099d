"""Tiles written one by one come back as the volume they were cut from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import scipy.ndimage
from absl import logging

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.read import missing, tiles
from emjax.volumes.store import open_volume

# An odd depth, and sides that are no multiple of the tile.
_VOXELS = np.random.default_rng(0).integers(1, 255, (9, 37, 53), np.uint8)
_TILE = (16, 20)


def _write(
    folder: Path,
    voxels: np.ndarray,
    *,
    tile: tuple[int, int] = _TILE,
    start: tuple[int, int] = (0, 0),
    **about: Any,
) -> Path:
    """Cuts a volume into PNG tiles named by row and column, and describes them."""
    patterns = [f"{z:03}/{{row}}_{{column}}.png" for z in range(len(voxels))]
    for z, pattern in enumerate(patterns):
        (folder / pattern).parent.mkdir(parents=True)
        for row, y in enumerate(range(0, voxels.shape[1], tile[0])):
            for column, x in enumerate(range(0, voxels.shape[2], tile[1])):
                name = pattern.format(row=row + start[0], column=column + start[1])
                part = np.ascontiguousarray(voxels[z, y : y + tile[0], x : x + tile[1]])
                imagecodecs.imwrite(folder / name, part)
    depth, height, width = voxels.shape[:3]
    about = {
        **{"ndim": 1, "dtype": "uint8", "depth": depth, "height": height, "width": width},
        **{"n_rows": 3, "n_columns": 3, "tile_size": list(tile), "tile_ratio": 1},
        **{"tile_st": list(start), "image": patterns},
        **about,
    }
    path = folder / "em.json"
    path.write_text(json.dumps(about))
    return path


@pytest.mark.parametrize("start", [(0, 0), (1, 1), (3, 7)])
def test_an_odd_volume(tmp_path: Path, start: tuple[int, int]) -> None:
    path = _write(tmp_path, _VOXELS, start=start)
    volume = open_volume(f"{path}?voxel_nm=30,8,8")
    assert (volume.size, volume.dtype, volume.voxel_nm) == ((9, 37, 53), np.uint8, (30, 8, 8))
    assert volume.slow_random_access
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)
    # The last section, which a grid of two chunks of four would lose, and the smaller tiles at the edges.
    np.testing.assert_array_equal(
        open_volume(f"{path}[8:9,30:,45:]").store.read().result(), _VOXELS[8:9, 30:, 45:]
    )


def test_a_tile_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = open_volume(str(_write(tmp_path, _VOXELS)))
    decoded = []
    original = tiles.read_image
    monkeypatch.setattr(tiles, "read_image", lambda p: decoded.append(p) or original(p))
    # Rows 0 and 1, columns 1 and 2 of two sections.
    box = Box((3, 10, 25), (2, 10, 20))
    for _ in range(3):
        np.testing.assert_array_equal(volume.read(box), _VOXELS[box.slices])
    expected = [f"{z:03}/{r}_{c}.png" for z in (3, 4) for r in (0, 1) for c in (1, 2)]
    assert sorted(decoded) == [str(tmp_path / name) for name in expected]


def test_whole_sections_and_equal_tiles(tmp_path: Path) -> None:
    """One file a section needs no pattern; tiles of one number are square; a padded last tile is cut."""
    for z in range(3):
        imagecodecs.imwrite(tmp_path / f"{z}.png", _VOXELS[z])
    about = {"image": [f"{tmp_path}/{z}.png" for z in range(3)], "height": 37, "width": 53}
    (tmp_path / "a.json").write_text(json.dumps(about))
    volume = open_volume(f"{tmp_path}/a.json")
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS[:3])
    padded = np.zeros((2, 40, 60), np.uint8)
    padded[:, :37, :53] = _VOXELS[:2]
    path = _write(tmp_path / "b", padded, tile=(20, 20), tile_size=20, height=37, width=53)
    np.testing.assert_array_equal(open_volume(str(path)).store.read().result(), _VOXELS[:2])


def test_depth_may_leave_sections_out(tmp_path: Path) -> None:
    assert open_volume(str(_write(tmp_path, _VOXELS, depth=7))).size == (7, 37, 53)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "float32"])
def test_values_of_wider_types(tmp_path: Path, dtype: str) -> None:
    voxels = _VOXELS[:2].astype(np.uint16) * 257
    volume = open_volume(str(_write(tmp_path, voxels, dtype=dtype)))
    assert volume.dtype == dtype
    np.testing.assert_array_equal(volume.store.read().result(), voxels)


def test_ids_as_colours(tmp_path: Path) -> None:
    """VAST: red counts 65536, green 256."""
    ids = np.random.default_rng(1).integers(0, 2**24, (2, 37, 53), np.uint32)
    colours = np.stack([ids >> 16, (ids >> 8) & 255, ids & 255], axis=-1).astype(np.uint8)
    volume = open_volume(str(_write(tmp_path, colours, dtype="uint64", ndim=3)))
    assert volume.dtype == np.uint64
    np.testing.assert_array_equal(volume.store.read().result(), ids)


@pytest.mark.parametrize("dtype", ["uint8", "uint32"])
def test_tile_ratio(tmp_path: Path, dtype: str) -> None:
    """Images are interpolated, ids never are."""
    path = _write(
        tmp_path,
        _VOXELS[:2, :32, :40],
        dtype=dtype,
        tile_ratio=0.5,
        tile_size=[8, 10],
        height=16,
        width=20,
    )
    found = open_volume(str(path)).store.read().result()
    order = 1 if dtype == "uint8" else 0
    expected = scipy.ndimage.zoom(_VOXELS[1, 16:32, 20:40], 0.5, order=order)
    np.testing.assert_array_equal(found[1, 8:, 10:], expected)
    if dtype == "uint32":
        assert set(np.unique(found)) <= set(np.unique(_VOXELS))


def test_absent_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, _VOXELS)
    for name in ("002/1_0.png", "004/0_2.png"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"lacks 2 of 81 tiles: .*002/1_0\.png, .*004/0_2\.png"):
        open_volume(str(path))
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    missing._say.cache_clear()
    found = open_volume(f"{path}?missing=fill").store.read().result()
    assert len(said) == 1 and "lacks 2 of 81 tiles" in said[0]
    expected = _VOXELS.copy()
    expected[2, 16:32, :20] = expected[4, :16, 40:] = 0
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("about", "helps"),
    [
        ({"image": "x"}, "describes no tiles: it needs image"),
        ({"image": []}, "depth is 9, but image names 0 sections"),
        ({"height": None}, "height=None must be a number above 0"),
        ({"depth": 10}, "depth is 10, but image names 9 sections"),
        ({"tile_size": 0}, "tile_size=0 .*must be whole numbers"),
        ({"tile_st": [0]}, r"tile_st=\[0\] must be whole numbers"),
        ({"dtype": "complex64"}, "dtype=complex64 is none of uint8"),
        ({"image": ["000/0_0.png"], "depth": 1}, "does not name them by {row} and {column}"),
        ({"height": 60}, "lacks 27 of 108 tiles"),
    ],
)
def test_contradictions(tmp_path: Path, about: dict, helps: str) -> None:
    path = _write(tmp_path, _VOXELS, **about)
    with pytest.raises(InputError, match=helps):
        open_volume(str(path))


def test_tiles_that_do_not_fit(tmp_path: Path) -> None:
    path = _write(tmp_path, _VOXELS)
    imagecodecs.imwrite(tmp_path / "001/0_0.png", _VOXELS[1, :9, :20])
    imagecodecs.imwrite(tmp_path / "002/0_0.png", _VOXELS[2, :16, :20].astype(np.uint16))
    volume = open_volume(str(path))
    with pytest.raises(InputError, match=r"001/0_0\.png is \(9, 20\) pixels, but \(16, 20\) are"):
        volume.read(Box((1, 0, 0), (1, 4, 4)))
    with pytest.raises(InputError, match=r"002/0_0\.png is uint16, which does not fit the uint8"):
        volume.read(Box((2, 0, 0), (1, 4, 4)))
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match=r"x\.json cannot be read as JSON"):
        open_volume(f"{tmp_path}/x.json")
