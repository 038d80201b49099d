"""Sections as pictures: every pixel is the voxel that lies there."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.pictures.overlays import id_colours, overlay
from emjax.viewing.layers import open_layers
from emjax.viewing.picture import Plane, Sections, draw, plan_plane, read_plane, read_sections
from emjax.volumes.create import create_volume

# Of the layout: see emjax.viewing.picture.
TITLE, LABEL, GAP = 22, 24, 6
WHOLE = Box((0, 0, 0), (4, 300, 260))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An image with a bright quadrant, two labels of which one part is known, and affinities."""
    path = tmp_path_factory.mktemp("volumes")
    image = np.zeros(WHOLE.size, np.float32)
    image[:, :150, :130] = 1.0
    image[2] *= 0.5
    with h5py.File(path / "a.h5", "w") as file:
        file["raw"] = image
        file["raw"].attrs["resolution"] = (40.0, 8.0, 8.0)
    ids = np.full((3, 100, 100), 7, np.uint64)
    ids[:, 40:] = 2**60 + 3
    ids[:, :, 90:] = 0
    store = create_volume(
        path / "s.zarr", ids.shape, ids.dtype, (40.0, 8.0, 8.0), {}, origin=(1, 20, 30)
    )
    store.write(ids).result()
    known = {"targets": ["affinity"] * 3, "offsets": (-np.eye(3, dtype=int)).tolist()}
    # Voxels half as long: its 4 sections of 20 nm lie over sections 1 and 2.
    affinities = np.zeros((3, 4, 200, 200), np.uint8)
    affinities[0], affinities[1, :, 100:], affinities[2, :2] = 255, 51, 102
    store = create_volume(
        path / "p.zarr",
        affinities.shape,
        np.uint8,
        (20.0, 4.0, 4.0),
        known | {"scale": 1 / 255},
        origin=(2, 0, 0),
    )
    store.write(affinities).result()
    return path


def _panels(picture: np.ndarray, size: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """Cuts a picture into its panels: `[row, column, down, right, 3]`."""
    height, width = size
    tops = [TITLE + r * (height + GAP) for r in range(rows)]
    lefts = [LABEL + c * (width + GAP) for c in range(columns)]
    return np.stack([[picture[t : t + height, x : x + width] for x in lefts] for t in tops])


def test_image_labels_and_affinities_lie_over_each_other(folder):
    layers = open_layers([f"{folder}/{name}" for name in ("a.h5:raw", "s.zarr", "p.zarr")])
    plane = plan_plane(layers[0], 0, WHOLE, WHOLE)
    assert plane == Plane(0, (0.0, 0.0), 8.0, (300, 260))
    picture = draw(layers, Sections(0, (1, 2)), plane)
    assert picture.shape == (TITLE + 2 * 306, LABEL + 3 * 266, 3) and picture.dtype == np.uint8
    panels = _panels(picture, plane.size, 2, 3)
    grey, over, colours = panels[:, 0], panels[:, 1], panels[:, 2]
    assert (grey[0, :150, :130] == 255).all() and (grey[0, 150:] == 0).all()
    assert np.isin(grey[1, :150, :130], (127, 128)).all()
    # Labels lie from y 20 and x 30 on; beside them is the image.
    expected = np.zeros((300, 260), np.uint64)
    expected[20:60, 30:120], expected[60:120, 30:120] = 7, 2**60 + 3
    image = np.zeros((300, 260), np.float32)
    image[:150, :130] = 1
    assert np.abs(over[0] - np.rint(overlay(image, expected) * 255)).max() <= 1
    seen = over[0, 40, 60] / 255 - 0.55
    assert np.allclose(seen, 0.45 * id_colours(np.asarray(7)), atol=0.01)
    # 4 nm voxels: 200 of them are 100 pixels of 8 nm. Section 1 is made of the two of 20 nm with blue.
    assert colours[0, 10, 10].tolist() == [255, 0, 102]
    assert colours[0, 60, 10].tolist() == [255, 51, 102]
    assert colours[1, 60, 99].tolist() == [255, 51, 0]
    assert (colours[:, 100:] == 51).all() and (colours[:, :, 100:] == 51).all()


def test_sections_across_are_stretched_to_squares(folder):
    layers = open_layers(f"{folder}/a.h5:raw")
    box = Box.between((1, 140, 120), (4, 160, 140))
    plane = plan_plane(layers[0], 1, box, box)
    # z is five times as long as x.
    assert plane == Plane(1, (40.0, 960.0), 8.0, (15, 20))
    voxels, covered = read_plane(layers[0], plane, 145.5 * 8)
    assert covered.all() and voxels.shape == (15, 20)
    assert (voxels[:5, :10] == 1).all() and (voxels[5:10, :10] == 0.5).all()
    assert (voxels[10:, :10] == 1).all() and (voxels[:, 10:] == 0).all()
    # Small sections are enlarged to 256 pixels, all alike.
    picture = draw(layers, Sections(1, (145,)), plane)
    panel = _panels(picture, (15 * 13, 20 * 13), 1, 1)[0, 0, ..., 0]
    assert np.array_equal(panel[6::13, 6::13], np.rint(voxels * 255))
    assert np.array_equal(panel, panel[::13, ::13].repeat(13, 0).repeat(13, 1))


def test_large_sections_are_cut_around_what_all_layers_cover(folder):
    (layer,) = open_layers(f"{folder}/a.h5:raw")
    big = Box((0, 0, 0), (4, 2000, 1000))
    middle = plan_plane(layer, 0, big, big)
    assert middle.size == (768, 768) and middle.start_nm == (616 * 8, 116 * 8)
    corner = plan_plane(layer, 0, big, Box.between((0, 0, 900), (4, 50, 1000)))
    assert corner.start_nm == (0, 232 * 8)


def test_only_the_section_is_read(folder, monkeypatch):
    (layer,) = open_layers(f"{folder}/p.zarr")
    boxes = []
    read = type(layer.volume).read
    monkeypatch.setattr(type(layer.volume), "read", lambda v, b: boxes.append(b) or read(v, b))
    plane = Plane(0, (80.0, 160.0), 4.0, (30, 20))
    voxels, covered = read_plane(layer, plane, 65.0)
    assert boxes == [Box.between((1, 20, 40), (2, 50, 60))]
    assert voxels.shape == (3, 30, 20) and covered.all()
    read_plane(layer, plane, 500.0)
    assert len(boxes) == 1


def test_text_of_sections():
    box, shared = Box.between((10, 5, 0), (40, 9, 7)), Box.between((20, 5, 0), (31, 9, 7))
    assert read_sections("", box, shared) == Sections(0, (22, 25, 28))
    assert read_sections(" z=10, 39", box, shared) == Sections(0, (10, 39))
    assert read_sections("x=6", box, shared) == Sections(2, (6,))
    one = Box((3, 0, 0), (1, 9, 9))
    assert read_sections("", one, one).indices == (3,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("z=40", r"z=40 lies outside .* z 10 to 39"),
        ("y=4", r"y=4 lies outside .* y 5 to 8"),
        ("c=1", "must be an axis and voxels"),
        ("z=", "must be an axis and voxels"),
        ("10,20", "must be an axis and voxels"),
        ("z=1.5", "must be an axis and voxels"),
    ],
)
def test_sections_that_are_none(text, words):
    box = Box.between((10, 5, 0), (40, 9, 7))
    with pytest.raises(InputError, match=words):
        read_sections(text, box, box)
