"""Parts of several volumes that show the same tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emjax.geometry.box import Box
from emjax.viewing.layers import open_layers
from emjax.viewing.overlap import crop_layers, shared_box, warn_of_gaps
from emjax.volumes.create import create_volume


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A whole, parts of it, one of voxels half as long, and something far away."""
    path = tmp_path_factory.mktemp("volumes")
    nm = (40.0, 8.0, 8.0)
    create_volume(path / "whole.zarr", (10, 24, 24), np.uint8, nm, {})
    create_volume(path / "part.zarr", (4, 4, 8, 8), np.uint8, nm, {}, origin=(2, 10, 12))
    create_volume(path / "fine.zarr", (6, 20, 20), np.uint8, (40.0, 4.0, 4.0), {}, origin=(2, 2, 6))
    create_volume(path / "far.zarr", (4, 8, 8), np.uint8, nm, {}, origin=(90, 0, 0))
    return path


def test_the_same_tissue_of_all(folder):
    layers = open_layers([f"{folder}/{name}" for name in ("whole.zarr", "part.zarr", "fine.zarr")])
    box = Box.between((1, 5, 5), (4, 12, 15))
    raw, prediction, fine = crop_layers(layers, box)
    assert raw.volume.size == (3, 7, 10) and raw.origin == (1, 5, 5)
    assert prediction.volume.box == Box.between((0, 0, 0), (2, 2, 3))
    assert prediction.origin == (2, 10, 12)
    # y 40 to 96 nm and x 40 to 120 nm, of voxels of 4 nm that begin at 2 and 6 and end at 22 and 26.
    assert fine.volume.box == Box.between((0, 8, 4), (2, 20, 20)) and fine.origin == (2, 10, 10)
    assert shared_box(layers[:2], box) == Box.between((2, 10, 12), (4, 12, 15))
    assert shared_box(layers, box) == Box.between((2, 10, 12), (4, 11, 13))


def test_what_lies_elsewhere_is_said(folder, caplog):
    layers = open_layers(f"{folder}/whole.zarr; {folder}/far.zarr")
    warn_of_gaps(layers)
    assert any("far.zarr lies beside whole.zarr" in r.getMessage() for r in caplog.records)
    box = Box((0, 0, 0), (10, 24, 24))
    assert shared_box(layers, box) == box
    assert [layer.name for layer in crop_layers(layers, box)] == ["whole.zarr"]
