"""The page in a real browser: what it draws, and that it needs no internet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from neuroglancer.segment_colors import hex_string_from_segment_id

from emjax.viewing.layers import open_layers
from emjax.viewing.page import serve
from emjax.volumes.create import create_volume

from .browser import Browser, find_browser

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason="no chromium on this machine: the page is not seen"
)

SHAPE, VOXEL_NM, WINDOW = (20, 96, 200), (40.0, 8.0, 8.0), (900, 700)
# The share of a label's colour over its image.
ALPHA = 0.4
IDS = (5, 2**40 + 9)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """A bright quadrant at small y and x; two labels at large y; affinities over the middle third."""
    path = tmp_path_factory.mktemp("volumes")
    image = np.zeros(SHAPE, np.uint8)
    image[:, :48, :100] = 250
    ids = np.zeros(SHAPE, np.uint64)
    ids[:, 48:, :100], ids[:, 48:, 100:] = IDS
    with h5py.File(path / "a.h5", "w") as file:
        for name, array in (
            ("raw", image),
            ("ids", ids),
            ("dark", 0 * image),
            ("none", 0 * ids),
        ):
            file[name] = array
            file[name].attrs["resolution"] = VOXEL_NM
    known = {"targets": ["affinity"] * 3, "offsets": (-np.eye(3, dtype=int)).tolist()}
    affinities = np.zeros((3, 6, 96, 200), np.uint8)
    affinities[0, :, :48], affinities[1, :, 48:], affinities[2, :, :, 100:] = 255, 255, 255
    store = create_volume(
        path / "p.zarr",
        affinities.shape,
        np.uint8,
        VOXEL_NM,
        known | {"scale": 1 / 255},
        origin=(7, 0, 0),
    )
    store.write(affinities).result()
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    """One browser for all pages."""
    with Browser(tmp_path_factory.mktemp("profile"), WINDOW) as started:
        yield started


def _is(picture: np.ndarray, colour: np.ndarray | tuple[int, ...] | int) -> np.ndarray:
    """Marks the pixels of a colour."""
    return np.abs(picture.astype(int) - np.asarray(colour)).max(axis=-1) <= 6


def _label_colour(label: int) -> np.ndarray:
    """What a label looks like over black."""
    text = hex_string_from_segment_id(0, label).removeprefix("#")
    return ALPHA * np.asarray([int(text[i : i + 2], 16) for i in (0, 2, 4)])


def _places(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners (down, right) of the box around marked pixels, but for few: buttons are white, too."""
    first, last = np.percentile(np.argwhere(mask), (1, 99), axis=0)
    return first, last


def test_image_and_labels_where_they_are(volumes, browser):
    layers = open_layers(f"{volumes}/a.h5:raw?kind=image|{volumes}/a.h5:ids")
    colours = [(255, 255, 255), *map(_label_colour, IDS)]

    def first_panel(picture: np.ndarray) -> list[np.ndarray]:
        # Of four panels that of x and y is the upper left; above it are bars, in its corner is that of the scale.
        part = picture[60:280, : WINDOW[0] // 2 - 10]
        return [_is(part, colour) for colour in colours]

    nothing = open_layers(f"{volumes}/a.h5:dark?kind=image|{volumes}/a.h5:none")
    with serve(nothing, [], "127.0.0.1", 0) as url:
        browser.open(url)
        # The volume is black, what lies around it is grey.
        empty = browser.wait_for(lambda picture: _is(picture[100:200, 100:300], 0).sum() > 5000)
    with serve(layers, [], "127.0.0.1", 0) as url:
        browser.open(url)
        picture = browser.wait_for(
            lambda picture: all(mask.sum() > 3000 for mask in first_panel(picture))
        )
    bright, left, right = first_panel(picture)
    assert min(mask.sum() for mask in (bright, left, right)) > 3000
    assert _is(empty[100:200, 100:300], 0).sum() > 5000
    assert max(mask.sum() for mask in first_panel(empty)) < 100
    # x goes right and y down: the bright quadrant is above one label, and left of the other.
    (top, start), (bottom, stop) = _places(bright)
    (label_top, label_start), (_, label_stop) = _places(left)
    (_, right_start), (_, _) = _places(right)
    assert abs(start - label_start) <= 3 and abs(stop - label_stop) <= 3
    assert abs(label_top - bottom) <= 4 and abs(right_start - label_stop) <= 4
    # 100 voxels along x, 48 along y.
    assert (stop - start) / (bottom - top) == pytest.approx(100 / 48, rel=0.06)


def test_affinities_beside_the_image(volumes, browser):
    layers = open_layers(f"{volumes}/a.h5:raw?kind=image; {volumes}/p.zarr")
    colours = [(255, 0, 0), (0, 255, 0), (255, 0, 255), (0, 255, 255)]

    def right_half(picture: np.ndarray) -> list[np.ndarray]:
        return [_is(picture[60:, WINDOW[0] // 2 + 10 :], colour) for colour in colours]

    with serve(layers, [], "127.0.0.1", 0) as url:
        browser.open(url)
        picture = browser.wait_for(lambda p: all(mask.sum() > 3000 for mask in right_half(p)))
    z, y, zx, yx = right_half(picture)
    assert min(mask.sum() for mask in (z, y, zx, yx)) > 3000
    middle = [np.argwhere(mask).mean(axis=0) for mask in (z, y, zx, yx)]
    # Red (z) above green (y), blue (x) at the right of both.
    assert middle[0][0] < middle[1][0] - 10 and middle[0][1] < middle[2][1] - 10
    assert middle[2][0] < middle[3][0] - 10 and middle[1][1] < middle[3][1] - 10
    left = picture[60:, : WINDOW[0] // 2 - 10]
    assert _is(left, (255, 255, 255)).sum() > 1000
