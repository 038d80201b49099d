"""What a volume is drawn as, and where it lies."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.viewing.layers import describe, knows_nm, open_layers
from emjax.volumes.create import create_volume

OFFSETS = [[0, -1, 0], [-1, 0, 0], [0, 0, -9], [0, 0, -1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An image, ids, and predictions of which parts overlap."""
    path = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    with h5py.File(path / "a.h5", "w") as file:
        for name, dtype in (("raw", np.uint8), ("deep", np.uint16), ("float", np.float32)):
            file[name] = rng.integers(0, 200, (10, 24, 24)).astype(dtype)
        for name, dtype in (("ids", np.uint32), ("signed", np.int64), ("mask", bool)):
            file[name] = np.ones((10, 24, 24), dtype)
        file["small_ids"] = np.repeat([[[1, 2]]], 12, axis=-1).astype(np.uint8) * np.ones(
            (10, 24, 1), np.uint8
        )
        file["channels"] = np.ones((2, 10, 24, 24), np.float32)
        for item in file.values():
            item.attrs["resolution"] = (40.0, 8.0, 8.0)
        file["bare"] = file["raw"][...]
    known = {"targets": ["affinity"] * 4, "offsets": OFFSETS, "scale": 1 / 255}
    nm = (40.0, 8.0, 8.0)
    create_volume(path / "p.zarr", (4, 4, 8, 8), np.uint8, nm, known, origin=(2, 10, 12))
    create_volume(path / "s.zarr", (4, 8, 8), np.uint16, nm, {"kind": "segmentation"})
    create_volume(path / "converted.zarr", (4, 8, 8), np.uint8, nm, {"kind": "labels"})
    return path


def test_labels_without_a_place_lie_over_their_image(folder):
    nm = (40.0, 8.0, 8.0)
    create_volume(folder / "there.zarr", (4, 8, 8), np.uint8, nm, {}, origin=(2, 10, 12))
    layers = open_layers(f"{folder}/there.zarr?kind=labels|{folder}/s.zarr; {folder}/s.zarr")
    assert [layer.origin for layer in layers] == [(2, 10, 12), (2, 10, 12), (0, 0, 0)]
    # A box is a place.
    (_, boxed) = open_layers(f"{folder}/there.zarr[:,:2]?kind=labels|{folder}/s.zarr[:,1:3]")
    assert boxed.origin == (0, 1, 0)
    with pytest.raises(InputError, match="ignore=3 means nothing here"):
        open_layers(f"{folder}/s.zarr?ignore=3")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("a.h5:raw", "image"),
        ("a.h5:deep", "image"),
        ("a.h5:float", "image"),
        ("a.h5:ids", "labels"),
        ("a.h5:signed", "labels"),
        ("a.h5:mask", "labels"),
        ("a.h5:channels", "affinities"),
        ("p.zarr", "affinities"),
        ("s.zarr", "labels"),
        ("converted.zarr", "labels"),
        ("a.h5:ids?kind=image", "image"),
        ("a.h5:raw?kind=labels", "labels"),
    ],
)
def test_kind_by_type_attributes_and_address(folder, address, kind):
    (layer,) = open_layers(f"{folder}/{address}")
    assert layer.kind == kind and (layer.contrast is None) == (kind == "labels")
    assert layer.voxel_nm == (40, 8, 8) and knows_nm([layer])


def test_names_order_and_labels_of_an_entry(folder):
    layers = open_layers(f"{folder}/a.h5:raw|{folder}/a.h5:small_ids; {folder}/a.h5:raw[2:4]")
    assert [layer.kind for layer in layers] == ["image", "labels", "image"]
    assert [layer.name for layer in layers] == ["a.h5:raw", "a.h5:small_ids", "a.h5:raw 2"]
    assert layers[2].origin == (2, 0, 0) and layers[2].volume.size == (2, 24, 24)


def test_nearest_affinities_are_red_green_blue(folder):
    (layer,) = open_layers(f"{folder}/p.zarr[1:3]")
    assert layer.colours == (1, 0, 3) and layer.contrast[:2] == (0, 255)
    assert layer.origin == (3, 10, 12)
    assert np.array_equal(layer.start_nm, [120, 80, 96])
    assert np.array_equal(layer.stop_nm, [200, 144, 160])
    text = describe(layer)
    assert "uint8 4x2x8x8, 40x8x8 nm, from voxel 3,10,12, red affinity[-1,0,0]" in text
    assert open_layers(f"{folder}/a.h5:channels")[0].colours == (0, 1)


def test_unknown_voxel_size_is_said_and_taken_from_others(folder, caplog):
    bare, raw = open_layers(f"{folder}/a.h5:bare; {folder}/a.h5:raw")
    assert bare.voxel_nm == (40, 8, 8) and "voxel size unknown" in describe(bare)
    (message,) = (r.getMessage() for r in caplog.records)
    assert "a.h5:bare does not say its voxel size" in message and "voxel_nm=" in message
    caplog.clear()
    (alone,) = open_layers(f"{folder}/a.h5:bare")
    assert alone.voxel_nm == (1, 1, 1) and not knows_nm([alone]) and raw.origin == (0, 0, 0)
    assert "cubes" in caplog.text


def test_image_that_looks_like_labels_is_said(folder, caplog):
    open_layers(f"{folder}/a.h5:small_ids")
    assert "add ?kind=labels" in caplog.text
    caplog.clear()
    open_layers(f"{folder}/a.h5:small_ids?kind=image; {folder}/a.h5:small_ids?kind=labels")
    assert not caplog.text


@pytest.mark.parametrize(
    ("volumes", "words"),
    [
        ("", "volumes is empty; give --config.volumes="),
        ("{f}/none.zarr", "no such path"),
        ("{f}/a.h5:raw?kind=label", "kind='label' is unknown.*labels"),
        ("{f}/a.h5:float?kind=labels", "float32.*labels are whole numbers"),
        ("{f}/p.zarr?kind=image", "an image needs z, y, x"),
        ("{f}/a.h5:raw?kind=affinities", "affinities need c, z, y, x"),
        ("{f}/a.h5:raw|{f}/a.h5:float", "labels are whole numbers"),
    ],
)
def test_what_cannot_be_drawn(folder, volumes, words):
    with pytest.raises(InputError, match=words):
        open_layers(volumes.format(f=folder))
