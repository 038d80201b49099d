"""Nothing is trained on that scores the network, however its address is written."""

from __future__ import annotations

import logging
import os

import h5py
import numpy as np
import pytest
import tifffile

from emjax.data import opening
from emjax.data.leakage import Scored, check_apart
from emjax.data.opening import open_entries
from emjax.errors import InputError
from emjax.volumes.address import parse_volumes
from emjax.volumes.store import open_volume


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files of every kind, seen from their folder."""
    voxels = np.random.default_rng(0).integers(1, 256, (16, 32, 32), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("raw", "other", "labels"):
            file[name] = voxels // 32 if name == "labels" else voxels
            file[name].attrs["resolution"] = (40, 8, 8)
        file["soft"] = h5py.SoftLink("/raw")
    with h5py.File(tmp_path / "out.h5", "w") as file:
        file["image"] = h5py.ExternalLink("a.h5", "/raw")
    os.symlink(tmp_path / "a.h5", tmp_path / "link.h5")
    os.link(tmp_path / "a.h5", tmp_path / "twin.h5")
    (tmp_path / "z").mkdir()
    for z in range(12):
        tifffile.imwrite(tmp_path / "z" / f"s{z:02}.tif", voxels[z])
    # Nobody asks for the contrast.
    monkeypatch.setattr(opening, "measure", lambda image: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _check(training: str, *scored: str, exclude: str = "", allow: bool = False) -> None:
    parts = {
        f"eval.part{i}": [
            Scored(open_volume(e.image), open_volume(e.labels) if e.labels else None)
            for e in parse_volumes(text)
        ]
        for i, text in enumerate(scored)
    }
    check_apart(open_entries(training, exclude=exclude), parts, (2, 8, 8), allow=allow)


@pytest.mark.parametrize(
    ("training", "scored", "common"),
    [
        ("a.h5:raw", "a.h5:raw[8:16]", "8:16,0:32,0:32"),
        ("a.h5:raw[0:9]", "a.h5:raw[8:16,4:20,:]", "8:9,4:20,0:32"),
        ("a.h5:raw", "link.h5:raw[8:16]", "8:16,0:32,0:32"),
        ("twin.h5:raw", "z/../a.h5:/raw[8:16]", "8:16,0:32,0:32"),
        ("a.h5:raw[:,:,0:16]", "a.h5:raw[:,:,15:]?voxel_nm=50,4,4", "0:16,0:32,15:16"),
        ("a.h5:raw", "a.h5:soft[8:16]", "8:16,0:32,0:32"),
        ("out.h5:image[0:9]", "a.h5:raw[8:16]", "8:9,0:32,0:32"),
        # Only the labels are the same.
        ("a.h5:raw|a.h5:labels", "a.h5:other|a.h5:labels[8:16]", "8:16,0:32,0:32"),
        # The third file of one pattern is the first of the other.
        ("z/*.tif?voxel_nm=1,1,1", "z/s1*.tif?voxel_nm=1,1,1", "10:12,0:32,0:32"),
        ("z?voxel_nm=1,1,1", "z/*.tif[0:3]?voxel_nm=1,1,1", "0:3,0:32,0:32"),
        (
            "synthetic://neurites?shape=16,32,32&seed=3",
            "synthetic://neurites?seed=3&shape=16,32,32[8:16]",
            "8:16,0:32,0:32",
        ),
    ],
)
def test_the_same_voxels_are_refused(folder, training, scored, common):
    if "labels" in scored:
        scored = scored.replace("a.h5:other|", "a.h5:other[8:16]|")
    with pytest.raises(InputError, match=r"^eval.part0: .* overlaps data.volumes") as caught:
        _check(training, scored)
    assert f"[{common}]" in str(caught.value) and "allow_overlap=true" in str(caught.value)


def test_levels_of_a_pyramid_are_the_same_tissue(tmp_path, write, noise):
    voxels = noise(16, 32, 32)
    write("em.zarr/s0", voxels)
    write("em.zarr/s1", voxels[:, ::2, ::2])
    write("em.zarr/raw", voxels)
    fine, coarse, other = (f"{tmp_path}/em.zarr/{name}" for name in ("s0", "s1", "raw"))
    nm = "?voxel_nm=40,16,16"
    with pytest.raises(InputError, match=r"at the voxels \[8:12,8:32,0:32\]"):
        _check(f"{fine}[0:12]", f"{coarse}[8:16,4:,:]{nm}")
    _check(f"{fine}[:,0:8,:]", f"{coarse}[:,4:,:]{nm}")
    _check(fine, other)


@pytest.mark.parametrize(
    ("training", "scored"),
    [
        ("a.h5:raw[0:8]", "a.h5:raw[8:16]"),
        ("a.h5:raw", "a.h5:other"),
        ("z/s0*.tif?voxel_nm=1,1,1", "z/s1*.tif?voxel_nm=1,1,1"),
        (
            "synthetic://neurites?shape=16,32,32&seed=3",
            "synthetic://neurites?shape=16,32,32&seed=4",
        ),
    ],
)
def test_other_voxels_are_fine(folder, training, scored):
    _check(training, scored)


def test_what_is_excluded_from_training_may_score(folder):
    _check("a.h5:raw", "a.h5:raw[8:16]", exclude="a.h5:raw[8:16]")
    _check("a.h5:raw", "a.h5:raw[8:16]", exclude="a.h5:raw[8:12]; a.h5:raw[11:16]")
    with pytest.raises(InputError, match=r"\[8:10,0:32,0:32\]"):
        _check("a.h5:raw", "a.h5:raw[8:16]", exclude="a.h5:raw[10:16]")


def test_fields_are_compared_with_each_other(folder):
    with pytest.raises(InputError, match=r"^eval.part1: .* overlaps eval.part0"):
        _check("a.h5:raw", "a.h5:other[0:9]", "a.h5:other[8:16]")


def test_overlaps_can_be_accepted_and_are_said(folder, caplog):
    with caplog.at_level(logging.WARNING):
        _check("a.h5:raw", "a.h5:raw[8:16]", allow=True)
    assert "overlaps data.volumes" in caplog.text


def test_parts_closer_than_the_network_sees_are_said(folder, caplog):
    with caplog.at_level(logging.WARNING):
        _check("a.h5:raw[0:8]", "a.h5:raw[10:16]")
        assert "lie fewer voxels than" not in caplog.text
        _check("a.h5:raw[0:8]", "a.h5:raw[9:16]")
    assert "lie fewer voxels than the (2, 8, 8) that the network sees" in caplog.text
